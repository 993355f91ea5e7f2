"""What people see when they type or press: the answer to them alone, or one message for everybody, in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest

from adapters.slack import conversation
from opsgate.contracts.invocations import Answer, CancelInvocation, CastVote, SendMessage, State
from opsgate.contracts.messages import Link
from opsgate.contracts.problems import Code, Problem
from opsgate.errors import BadAnswer, GatewayRefused, GatewayUnreachable
from tests.rig.slack import ALICE, BOB, CHANNEL, JsonObject, SlackWebApi, buttons, until, web_api
from tests.unit.slack_parts import HASH, FakeGateway, House, card, house, invocation, private, public


@pytest.fixture(scope="module")
def loopback() -> Iterator[SlackWebApi]:
    with web_api() as slack:
        yield slack


@pytest.fixture
async def shop(loopback: SlackWebApi, tmp_path: Path) -> AsyncIterator[House]:
    loopback.calls.clear()
    loopback.messages.clear()
    async with house(loopback, tmp_path / "slack.db", FakeGateway()) as made:
        yield made


def problem(code: Code, detail: str, status: int = 409) -> GatewayRefused:
    return GatewayRefused(Problem(type="about:blank", title="No", status=status, code=code, detail=detail))


def unreachable(why: Exception) -> GatewayUnreachable:
    lost = GatewayUnreachable("The gateway cannot be reached.")
    lost.__cause__ = why
    return lost


async def posted(shop: House) -> JsonObject:
    """The one public message of a production deploy that Alice asked for."""
    shop.gateway.script["say"] = public(invocation())
    assert (await shop.deliver(shop.sender.command("deploy production api-service"))).text == ""
    await until(lambda: shop.slack.messages)
    (message,) = shop.slack.of("chat.postMessage")
    return message


async def test_an_answer_for_one_is_seen_by_one(shop: House) -> None:
    """Help, mistakes and denials come back in the acknowledgement, ephemeral."""
    shop.gateway.script["say"] = private("Did you mean `deploy`?", "mistake")
    answer = (await shop.deliver(shop.sender.command("deplyo staging api-service"))).json()
    assert answer["response_type"] == "ephemeral"
    assert "Did you mean `deploy`?" in answer["text"]
    ((call, said, _),) = shop.gateway.heard
    assert call == "say"
    assert isinstance(said, SendMessage)
    assert (said.text, said.context.channel) == ("deplyo staging api-service", CHANNEL)
    assert shop.slack.of("chat.postMessage") == []


async def test_an_invocation_is_one_public_message_with_buttons(shop: House) -> None:
    """Posted by the app itself: the typed command and the asker's denial are nobody else's business, the deploy is."""
    message = await posted(shop)
    assert message["channel"] == CHANNEL
    assert list(buttons(message["blocks"])) == ["Approve", "Reject", "Cancel"]
    assert (message["unfurl_links"], message["unfurl_media"], message["link_names"]) == (False, False, False)
    assert message["parse"] == "none"
    assert shop.slack.of("response_url") == []


@pytest.mark.slow
async def test_a_slow_gateway_is_acknowledged_in_time_and_answered_later(
    shop: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slack gives three seconds; the answer comes by response_url, to the one who asked."""
    shop.gateway.slow = asyncio.Event()
    shop.gateway.script["say"] = private("Here is help.")
    began = time.monotonic()
    answer = (await shop.deliver(shop.sender.command("help"))).json()
    assert 2.0 < time.monotonic() - began < 3.0
    assert answer["text"] == conversation.WORKING
    assert shop.slack.of("response_url") == []
    shop.gateway.slow.set()
    await until(lambda: shop.slack.of("response_url"))
    (late,) = shop.slack.of("response_url")
    assert (late["response_type"], late["replace_original"]) == ("ephemeral", False)
    assert "Here is help." in late["text"]


async def test_a_late_answer_goes_to_no_address_but_slack_s(shop: House) -> None:
    """A response_url elsewhere, even a signed one, is never called."""
    message = await posted(shop)
    shop.gateway.script["approve inv_1"] = private("Not you.", "refusal")
    shop.sender.response_url = shop.slack.response_url.replace("127.0.0.1", "localhost")
    await shop.deliver(shop.sender.press(buttons(message["blocks"])["Approve"], ALICE))
    await asyncio.sleep(0.2)
    assert shop.slack.of("response_url") == []


async def test_nothing_was_run_when_the_gateway_cannot_be_reached(shop: House) -> None:
    """And it is said at once, with what to do."""
    shop.gateway.script["say"] = unreachable(httpx2.ConnectError("refused"))
    answer = (await shop.deliver(shop.sender.command("deploy staging api-service"))).json()
    assert conversation.UNREACHABLE in answer["text"]
    assert "nothing was run" in answer["text"]


@pytest.mark.parametrize("trouble", [unreachable(httpx2.ReadTimeout("slow")), BadAnswer("not ours")])
async def test_no_promise_is_made_when_the_gateway_may_have_taken_it(shop: House, trouble: Exception) -> None:
    """A connection that broke after the command was sent proves nothing."""
    shop.gateway.script["say"] = trouble  # type: ignore[assignment]
    answer = (await shop.deliver(shop.sender.command("deploy staging api-service"))).json()
    assert conversation.SILENT in answer["text"]
    assert "nothing was run" not in answer["text"]


async def test_the_gateway_s_own_no_is_passed_on_in_its_words(shop: House) -> None:
    """Its sentences say what to do; the adapter adds none."""
    shop.gateway.script["say"] = problem(Code.UNLINKED_ACCOUNT, "Opsgate does not know this chat account.", 403)
    answer = (await shop.deliver(shop.sender.command("status api-service"))).json()
    assert "Opsgate does not know this chat account." in answer["text"]


async def test_nobody_is_left_without_an_answer(shop: House) -> None:
    """Two copies at the same moment: the one that came second is told so, and nothing is posted for it."""
    shop.gateway.script["say"] = problem(Code.KEY_RUNNING, "This is being answered already.")
    answer = (await shop.deliver(shop.sender.command("deploy staging api-service"))).json()
    assert "This is being answered already." in answer["text"]
    assert shop.slack.of("chat.postMessage") == []


async def test_a_line_that_is_too_long_is_told_so(shop: House) -> None:
    """Without asking the gateway."""
    answer = (await shop.deliver(shop.sender.command("x" * 5000))).json()
    assert "at most 4096 characters" in answer["text"]
    assert shop.gateway.heard == []


async def test_a_press_votes_with_what_the_card_showed(shop: House) -> None:
    """The hash on the button, and the signed press as evidence; no name of anybody."""
    message = await posted(shop)
    done = invocation("Allowed. Starting…", 2, State.QUEUED)
    for label, verdict in (("Approve", "approve"), ("Reject", "reject")):
        shop.gateway.script[f"{verdict} inv_1"] = public(done)
        press = shop.sender.press(buttons(message["blocks"])[label], BOB)
        answer = await shop.deliver(press)
        assert (answer.status_code, answer.text) == (200, "")
        call, ballot, _ = shop.gateway.heard[-1]
        assert call == f"{verdict} inv_1"
        assert isinstance(ballot, CastVote)
        assert (ballot.binding_hash, ballot.verdict) == (HASH, verdict)
        assert ballot.evidence is not None
        assert ballot.evidence.body == press.body
    await until(lambda: shop.slack.of("chat.update"))
    assert buttons(shop.slack.of("chat.update")[-1]["blocks"]) == {}
    assert shop.slack.of("response_url") == []


async def test_cancel_is_a_press_too(shop: House) -> None:
    """It asks the gateway to stop, with the same evidence."""
    message = await posted(shop)
    shop.gateway.script["cancel inv_1"] = public(invocation("Cancelled by Alice.", 2, State.CANCELLED))
    await shop.deliver(shop.sender.press(buttons(message["blocks"])["Cancel"], ALICE))
    await until(lambda: "Cancelled by Alice." in "".join(shop.slack.texts()))
    assert isinstance(shop.gateway.heard[-1][1], CancelInvocation)


@pytest.mark.parametrize(
    "refusal",
    [
        private("You asked for this yourself.", "refusal"),
        problem(Code.CARD_OUT_OF_DATE, "You asked for this yourself."),
    ],
)
async def test_a_refused_press_is_told_to_the_presser_and_changes_nothing(shop: House, refusal: object) -> None:
    """No public shaming; the message stays as it is, for those who may."""
    message = await posted(shop)
    shop.gateway.script["approve inv_1"] = refusal  # type: ignore[assignment]
    await shop.deliver(shop.sender.press(buttons(message["blocks"])["Approve"], ALICE))
    await until(lambda: shop.slack.of("response_url"))
    (told,) = shop.slack.of("response_url")
    assert (told["response_type"], told["replace_original"]) == ("ephemeral", False)
    assert "You asked for this yourself." in told["text"]
    assert shop.slack.of("chat.update") == []


async def test_a_strange_button_asks_nothing(shop: House) -> None:
    """The presser is told; the gateway is not bothered."""
    strange = {"action_id": "vote", "value": "yes", "type": "button", "text": {"type": "plain_text", "text": "Yes"}}
    assert (await shop.deliver(shop.sender.press(strange, ALICE))).status_code == 200
    await until(lambda: shop.slack.of("response_url"))
    assert conversation.STRANGE_BUTTON in shop.slack.of("response_url")[0]["text"]
    assert shop.gateway.heard == []


async def test_a_mention_in_a_thread_is_a_command_answered_there(shop: House) -> None:
    """Slack has no slash commands in threads."""
    shop.gateway.script["say"] = public(invocation(thread="1700000000.9"))
    sent = shop.sender.mention("deploy production api-service", thread="1700000000.9")
    assert (await shop.deliver(sent)).status_code == 200
    await until(lambda: shop.slack.messages)
    ((_, said, _),) = shop.gateway.heard
    assert isinstance(said, SendMessage)
    assert (said.text, said.context.thread) == ("deploy production api-service", "1700000000.9")
    assert shop.slack.of("chat.postMessage")[0]["thread_ts"] == "1700000000.9"


async def test_a_mention_s_private_answer_is_whispered(shop: House) -> None:
    """There is no response_url for it, so it is an ephemeral message in the same thread."""
    shop.gateway.script["say"] = private("Here is help.")
    await shop.deliver(shop.sender.mention("help", ALICE, thread="1700000000.9"))
    await until(lambda: shop.slack.of("chat.postEphemeral"))
    (whisper,) = shop.slack.of("chat.postEphemeral")
    assert (whisper["user"], whisper["channel"], whisper["thread_ts"]) == (ALICE, CHANNEL, "1700000000.9")


async def test_a_bot_s_mention_is_ignored(shop: House) -> None:
    """Two bots that answer each other never stop."""
    assert (await shop.deliver(shop.sender.mention("help", bot_id="B0OTHER"))).status_code == 200
    await asyncio.sleep(0.1)
    assert shop.gateway.heard == []


async def test_where_the_app_cannot_write_the_asker_sees_it_and_is_told_why(shop: House) -> None:
    """The command stands; only its message has no place."""
    shop.slack.refuse("chat.postMessage", "not_in_channel")
    shop.gateway.script["say"] = public(invocation())
    assert (await shop.deliver(shop.sender.command("deploy production api-service"))).text == ""
    await until(lambda: shop.slack.of("response_url"))
    (told,) = shop.slack.of("response_url")
    assert conversation.NOT_HERE in str(told["blocks"])
    assert list(buttons(told["blocks"])) == ["Approve", "Reject", "Cancel"]


async def test_an_invocation_of_another_chat_is_answered_to_the_asker_only(shop: House) -> None:
    """`approve ID` typed here about something asked on the web: its message is there, the answer comes here."""
    shop.gateway.script["say"] = public(invocation("Approved.", 2, State.QUEUED, platform="web", channel="payments"))
    answer = (await shop.deliver(shop.sender.command("approve inv_1", BOB))).json()
    assert answer["response_type"] == "ephemeral"
    assert shop.slack.of("chat.postMessage") == []


async def test_a_message_that_stands_further_up_is_repeated_to_the_one_who_spoke(shop: House) -> None:
    """Bob types `approve ID`: the message up there changes, and he sees that it worked."""
    await posted(shop)
    shop.gateway.script["say"] = public(invocation("Allowed. Starting…", 2, State.QUEUED))
    assert (await shop.deliver(shop.sender.command("approve inv_1", BOB))).text == ""
    await until(lambda: shop.slack.of("response_url") and shop.slack.of("chat.update"))
    assert "Allowed. Starting…" in shop.slack.of("response_url")[0]["text"]
    assert len(shop.slack.of("chat.postMessage")) == 1


async def test_a_refused_slack_token_runs_nothing_and_says_so(shop: House) -> None:
    """The first delivery checks it; a command is not carried out where nobody could see its end."""
    shop.slack.refuse("auth.test", "invalid_auth")
    answer = await shop.deliver(shop.sender.command("deploy staging api-service"))
    assert answer.status_code == 200
    assert "SLACK_BOT_TOKEN" in answer.text or "SLACK_BOT_TOKEN" in str(shop.slack.of("response_url"))
    assert shop.gateway.heard == []


def not_linked(kind: str = "refusal") -> Answer:
    """What the gateway tells an account that is nobody's yet."""
    page = Link(label="Link this account to me", url="https://ops.acme.test/link/secret")
    return private("Not linked yet.", kind).model_copy(update={"card": card("Not linked yet.", links=(page,))})


async def test_who_is_not_linked_sees_the_link_alone(shop: House) -> None:
    """Typed, mentioned or pressed: the link is for the one who spoke, never for the channel."""
    message = await posted(shop)
    shop.gateway.script["say"] = shop.gateway.script["approve inv_1"] = not_linked()
    typed = (await shop.deliver(shop.sender.command("deploy staging api-service", BOB))).json()
    assert typed["response_type"] == "ephemeral"
    assert buttons(typed["blocks"])["Link this account to me"]["url"] == "https://ops.acme.test/link/secret"

    await shop.deliver(shop.sender.mention("help", BOB))
    await until(lambda: shop.slack.of("chat.postEphemeral"))
    assert shop.slack.of("chat.postEphemeral")[0]["user"] == BOB

    await shop.deliver(shop.sender.press(buttons(message["blocks"])["Approve"], BOB))
    await until(lambda: shop.slack.of("response_url"))
    (told,) = shop.slack.of("response_url")
    assert (told["response_type"], told["replace_original"]) == ("ephemeral", False)
    assert len(shop.slack.of("chat.postMessage")) == 1


async def test_opening_a_link_asks_nothing(shop: House) -> None:
    """Slack tells of a press on a link button too; their browser has done all there is to do."""
    shop.gateway.script["say"] = not_linked()
    typed = (await shop.deliver(shop.sender.command("help", BOB))).json()
    heard = len(shop.gateway.heard)
    pressed = buttons(typed["blocks"])["Link this account to me"] | {"value": ""}
    assert (await shop.deliver(shop.sender.press(pressed, BOB))).status_code == 200
    await asyncio.sleep(0.1)
    assert (len(shop.gateway.heard), shop.slack.of("response_url")) == (heard, [])
