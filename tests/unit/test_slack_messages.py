"""One message per Invocation, always at its last state: through bursts, refusals, restarts and broken feeds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapters.slack.tracing import TracedTransport
from opsgate.client import Client
from opsgate.contracts.invocations import SendMessage, State
from opsgate.errors import GatewayUnreachable
from tests.rig.slack import SlackWebApi, serving, until, web_api
from tests.unit.slack_parts import FakeGateway, House, house, invocation, private, public

END = "api-service 1.4.2 is live in production. Asked by Alice, approved by Bob. 41 s."


@pytest.fixture(scope="module")
def running() -> Iterator[SlackWebApi]:
    with web_api() as slack:
        yield slack


@pytest.fixture
def loopback(running: SlackWebApi) -> SlackWebApi:
    running.calls.clear()
    running.messages.clear()
    return running


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway({"say": public(invocation())})


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "slack.db"


async def ask(shop: House) -> None:
    """Alice asks for a deploy, and its message stands."""
    await shop.deliver(shop.sender.command("deploy production api-service"))
    await until(lambda: shop.slack.messages)


async def test_one_message_is_edited_to_the_end_sentence(
    loopback: SlackWebApi, gateway: FakeGateway, state: Path
) -> None:
    """From waiting to running to done, in the same place."""
    async with house(loopback, state, gateway) as shop:
        await ask(shop)
        gateway.tell(invocation("Rolling out…", 2, State.RUNNING))
        await until(lambda: "Rolling out…" in loopback.texts()[0])
        gateway.tell(invocation(END, 3, State.SUCCEEDED))
        await until(lambda: END in loopback.texts()[0])
    assert len(loopback.of("chat.postMessage")) == 1
    assert "Waits for 1 approval." in loopback.of("chat.postMessage")[0]["text"]


async def test_a_burst_is_a_few_edits_apart_and_the_last_state_wins(
    loopback: SlackWebApi, gateway: FakeGateway, state: Path
) -> None:
    """At most one call in 0.1 s here (1 s in Slack), however fast the feed is."""
    async with house(loopback, state, gateway) as shop:
        await ask(shop)
        for version in range(2, 102):
            gateway.tell(invocation(f"Step {version}", version, State.RUNNING))
        await until(lambda: "Step 101" in loopback.texts()[0])
    calls = [c.at for c in loopback.calls if c.method in ("chat.postMessage", "chat.update")]
    assert len(calls) <= 4
    assert all(later - earlier >= 0.09 for earlier, later in pairwise(calls))


async def test_an_older_state_never_overwrites_a_newer_one(
    loopback: SlackWebApi, gateway: FakeGateway, state: Path
) -> None:
    """The feed may say again what is long past."""
    async with house(loopback, state, gateway) as shop:
        await ask(shop)
        gateway.tell(invocation(END, 5, State.SUCCEEDED))
        await until(lambda: END in loopback.texts()[0])
        gateway.tell(invocation("Rolling out…", 4, State.RUNNING))
        gateway.tell(invocation("another", 1, name="inv_2"))
        await until(lambda: len(loopback.messages) == 2)
        await asyncio.sleep(0.2)
    assert END in loopback.texts()[0]


async def test_retry_after_is_waited_for_and_then_the_newest_state_is_shown(
    loopback: SlackWebApi, gateway: FakeGateway, state: Path
) -> None:
    """429 with a number of seconds: no call before, and not the stale text after."""
    async with house(loopback, state, gateway) as shop:
        await ask(shop)
        loopback.refuse("chat.update", "ratelimited", 429, retry_after=1)
        gateway.tell(invocation("Rolling out…", 2, State.RUNNING))
        await until(lambda: loopback.of("chat.update"))
        refused_at = time.monotonic()
        gateway.tell(invocation(END, 3, State.SUCCEEDED))
        await until(lambda: END in loopback.texts()[0])
    assert time.monotonic() - refused_at > 0.9
    assert [END in update["text"] for update in loopback.of("chat.update")] == [False, True]


async def test_a_bad_minute_of_slack_is_outlived(loopback: SlackWebApi, gateway: FakeGateway, state: Path) -> None:
    """5xx and passing errors are tried again until the state stands."""
    async with house(loopback, state, gateway) as shop:
        loopback.refuse("chat.postMessage", "internal_error")
        await ask(shop)
        loopback.refuse("chat.update", "fatal_error", 500)
        loopback.refuse("chat.update", "service_unavailable", 503)
        gateway.tell(invocation(END, 2, State.SUCCEEDED))
        await until(lambda: END in loopback.texts()[0])
    assert len(loopback.messages) == 1


async def test_a_message_that_somebody_deleted_is_given_up(
    loopback: SlackWebApi, gateway: FakeGateway, state: Path
) -> None:
    """One try, no second message, and the others live on."""
    async with house(loopback, state, gateway) as shop:
        await ask(shop)
        loopback.refuse("chat.update", "message_not_found")
        for version in (2, 3, 4):
            gateway.tell(invocation("Rolling out…", version, State.RUNNING))
            await asyncio.sleep(0.15)
        gateway.tell(invocation("another", 1, name="inv_2"))
        await until(lambda: len(loopback.messages) == 2)
    assert len(loopback.of("chat.update")) == 1


async def test_a_failure_brings_its_last_log_lines_into_the_thread(
    loopback: SlackWebApi, gateway: FakeGateway, state: Path
) -> None:
    """Twenty lines, once, under the message; what they hold cannot ping anybody."""
    async with house(loopback, state, gateway) as shop:
        await ask(shop)
        gateway.tell(invocation("Rolling out…", 2, State.RUNNING), *[f"line {n}" for n in range(30)], "@channel boom")
        gateway.tell(invocation("The rollout failed.", 3, State.FAILED))
        await until(lambda: len(loopback.of("chat.postMessage")) == 2)
    message, reply = loopback.of("chat.postMessage")
    ((_, ts),) = [where for where, versions in loopback.messages.items() if versions[0] is message]
    assert reply["thread_ts"] == ts
    (words,) = reply["blocks"][0]["elements"][0]["elements"]
    assert words["text"].split("\n") == [f"line {n}" for n in range(11, 30)] + ["@channel boom"]


async def test_a_success_keeps_its_log_to_itself(loopback: SlackWebApi, gateway: FakeGateway, state: Path) -> None:
    """The thread is for what needs reading."""
    async with house(loopback, state, gateway) as shop:
        await ask(shop)
        gateway.tell(invocation("Rolling out…", 2, State.RUNNING), "line 1")
        gateway.tell(invocation(END, 3, State.SUCCEEDED))
        await until(lambda: END in loopback.texts()[0])
        await asyncio.sleep(0.25)
    assert len(loopback.of("chat.postMessage")) == 1


async def test_a_restart_goes_on_with_the_same_message(
    loopback: SlackWebApi, gateway: FakeGateway, state: Path
) -> None:
    """Also when the end came while the adapter was away and the feed says no more about it."""
    async with house(loopback, state, gateway) as shop:
        await ask(shop)
        gateway.tell(invocation("Rolling out…", 2, State.RUNNING))
        await until(lambda: "Rolling out…" in loopback.texts()[0])
    gateway.known["inv_1"] = invocation(END, 3, State.SUCCEEDED)
    async with house(loopback, state, gateway):
        await until(lambda: END in loopback.texts()[0])
        await until(lambda: len(gateway.followed_from) == 2)
    assert len(loopback.of("chat.postMessage")) == 1
    assert gateway.followed_from == [None, 1]


async def test_an_answer_that_never_arrived_is_shown_by_the_feed(
    loopback: SlackWebApi, gateway: FakeGateway, state: Path
) -> None:
    """The gateway took the command, the connection broke: everybody sees it all the same."""
    gateway.script["say"] = GatewayUnreachable("broken")
    async with house(loopback, state, gateway) as shop:
        await shop.deliver(shop.sender.command("deploy production api-service"))
        gateway.tell(invocation())
        await until(lambda: loopback.messages)


async def test_what_was_asked_elsewhere_or_is_private_is_not_posted(
    loopback: SlackWebApi, gateway: FakeGateway, state: Path
) -> None:
    """Neither the web chat's Invocations nor a denial's."""
    async with house(loopback, state, gateway):
        gateway.tell(invocation(platform="web", name="inv_2"))
        gateway.tell(invocation(name="inv_3").model_copy(update={"visibility": "private"}))
        gateway.tell(invocation(name="inv_4"))
        await until(lambda: loopback.messages)
    (only,) = loopback.of("chat.postMessage")
    assert "inv_4" in str(only["blocks"])


async def test_a_broken_feed_is_followed_again_from_where_it_was(
    loopback: SlackWebApi, gateway: FakeGateway, state: Path
) -> None:
    """And readiness says so meanwhile."""
    async with house(loopback, state, gateway) as shop:
        await ask(shop)
        assert (await shop.http.get("/readyz")).json()["ready"] is True
        gateway.known["inv_1"] = invocation()
        gateway.tell(invocation("Rolling out…", 2, State.RUNNING))
        await until(lambda: "Rolling out…" in loopback.texts()[0])
        gateway.feed.put_nowait(GatewayUnreachable("gone"))
        await asyncio.sleep(0.1)
        down = await shop.http.get("/readyz")
        assert (down.status_code, down.json()["checks"]["feed"]["ok"]) == (503, False)
        gateway.tell(invocation(END, 3, State.SUCCEEDED))
        await until(lambda: END in loopback.texts()[0])
        assert (await shop.http.get("/readyz")).status_code == 200
    assert gateway.followed_from == [None, 1]


async def test_the_web_api_is_called_as_this_app(loopback: SlackWebApi, gateway: FakeGateway, state: Path) -> None:
    """With the bot's token, and never with the adapter's own."""
    async with house(loopback, state, gateway) as shop:
        await ask(shop)
    assert {c.token for c in loopback.calls if c.method.startswith("chat.")} == {"Bearer xoxb-loopback"}


async def test_a_trace_begins_at_the_adapter() -> None:
    """Every call to the gateway names the delivery's trace (W3C traceparent)."""
    seen: list[str] = []

    async def messages(request: Request) -> Response:
        seen.append(request.headers.get("traceparent", ""))
        return JSONResponse(private("Here is help.").model_dump(mode="json"))

    gateway = Starlette(routes=[Route("/v1/messages", messages, methods=["POST"])])
    tracer = TracerProvider().get_tracer("test")
    with serving(gateway) as url:
        async with Client(url, "token", transport=TracedTransport()) as client:
            with tracer.start_as_current_span("slack.command") as span:
                await client.send_message(SendMessage(text="help"))
    here = span.get_span_context()
    assert [parent.rsplit("-", 1)[0] for parent in seen] == [f"00-{here.trace_id:032x}-{here.span_id:016x}"]
