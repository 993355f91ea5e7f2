"""The story in Slack, end to end: a signed slash command, a signed press, and one message that ends in a sentence.

Slack is played from outside (its Web API on loopback, its signatures); the adapter and the gateway are the real ones.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx2
import pytest

from adapters.slack.app import create_app
from adapters.slack.settings import SlackSettings
from tests.rig.slack import (
    ADAPTER_TOKEN,
    ALICE,
    BOB,
    CHANNEL,
    DAVE,
    Delivery,
    JsonObject,
    Sender,
    SlackWebApi,
    buttons,
    serving,
    until,
    web_api,
)
from tests.rig.stages import SLACK_SIGNING_SECRET

if TYPE_CHECKING:
    from tests.rig.stages import Stage

pytestmark = pytest.mark.slow


@dataclass
class Workspace:
    """The company's Slack with Opsgate in it. `messages` are those of the channel as they stand now."""

    slack: SlackWebApi
    sender: Sender
    url: str

    def deliver(self, delivery: Delivery) -> httpx2.Response:
        content = delivery.body.encode()
        return httpx2.post(f"{self.url}/slack/events", content=content, headers=delivery.headers, trust_env=False)

    def command(self, text: str, person: str) -> str:
        """What the person alone sees at once; empty when the answer is for everybody."""
        answer = self.deliver(self.sender.command(text, person))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["text"]) if answer.text else ""

    @property
    def messages(self) -> list[JsonObject]:
        return [versions[-1] for versions in self.slack.messages.values()]

    def press(self, label: str, person: str) -> None:
        (message,) = self.messages
        assert self.deliver(self.sender.press(buttons(message["blocks"])[label], person)).status_code == 200

    @property
    def whispers(self) -> list[str]:
        """What was told to one person after the acknowledgement."""
        return [body["text"] for body in self.slack.of("response_url")]


@pytest.fixture
def workspace(stage: Stage, tmp_path: Path) -> Iterator[Workspace]:
    """The adapter as a server of its own before this stage's gateway."""
    with web_api() as slack:
        settings = SlackSettings(
            signing_secret=SLACK_SIGNING_SECRET,
            bot_token="xoxb-loopback",
            gateway_url=stage.url,
            adapter_token=ADAPTER_TOKEN,
            slack_api_url=slack.api_url,
            response_url_prefix=f"{slack.url}/",
            state=tmp_path / "slack.db",
        )
        with serving(create_app(settings)) as url:
            deadline = time.monotonic() + 10
            while httpx2.get(f"{url}/readyz", trust_env=False).status_code != 200:
                assert time.monotonic() < deadline, "the adapter does not get ready"
                time.sleep(0.05)
            yield Workspace(slack, Sender(SLACK_SIGNING_SECRET, slack.response_url), url)


@pytest.fixture
def adapter(stage: Stage) -> Iterator[httpx2.Client]:
    """A captured adapter: its token speaks to the gateway without the adapter's manners."""
    signed = {"Authorization": f"Bearer {ADAPTER_TOKEN}"}
    with httpx2.Client(base_url=stage.url, headers=signed, trust_env=False, timeout=15) as http:
        yield http


def carried(delivery: Delivery, text: str) -> dict[str, Any]:
    """A message as the adapter carries it."""
    headers = {name: value for name, value in delivery.headers.items() if name.startswith("x-slack-")}
    return {"text": text, "evidence": {"platform": "slack", "body": delivery.body, "headers": headers}}


def say(http: httpx2.Client, body: dict[str, Any]) -> httpx2.Response:
    return http.post("/v1/messages", json=body, headers={"Idempotency-Key": f"story-{time.time_ns()}"})


async def test_alice_asks_bob_approves_and_one_message_tells_it_to_everybody(workspace: Workspace) -> None:
    """The whole way: waiting, refused to Alice alone, approved by Bob, live: one message, at last without buttons."""
    assert workspace.command("deploy production api-service --version 1.4.2 --reason story-0", ALICE) == ""
    await until(lambda: len(workspace.messages) == 1)
    (waiting,) = workspace.messages
    assert waiting["channel"] == CHANNEL
    assert "owners:api-service" in waiting["text"]
    assert list(buttons(waiting["blocks"])) == ["Approve", "Reject", "Cancel"]

    workspace.press("Approve", ALICE)
    await until(lambda: workspace.whispers)
    assert "You asked for this yourself" in workspace.whispers[0]
    assert workspace.messages == [waiting]

    workspace.press("Approve", BOB)
    await until(lambda: "approved by Bob" in workspace.messages[0]["text"], within_s=40)
    (end,) = workspace.messages
    assert "Asked by Alice" in end["text"]
    assert "1.4.2" in end["text"]
    assert buttons(end["blocks"]) == {}
    assert len(workspace.whispers) == 1
    assert len(workspace.slack.of("chat.postMessage")) == 1


async def test_staging_runs_at_once(workspace: Workspace) -> None:
    """No approval, no buttons to approve with, the same one message."""
    assert workspace.command("deploy staging api-service", ALICE) == ""
    await until(lambda: workspace.messages and "Asked by Alice" in workspace.messages[0]["text"], within_s=40)
    assert len(workspace.slack.of("chat.postMessage")) == 1


async def test_a_no_and_a_typo_are_for_the_asker_only(workspace: Workspace) -> None:
    """Dave's denial and Alice's slip of the hand are nobody else's business."""
    assert workspace.command("deploy production api-service", DAVE) != ""
    assert "deploy" in workspace.command("deplyo staging api-service", ALICE)
    assert workspace.messages == []


async def test_bob_rejects_and_it_ends_for_everybody(workspace: Workspace) -> None:
    """Nothing runs; the message says who said no, and its buttons are gone."""
    workspace.command("deploy production api-service --version 1.4.2 --reason story-1", ALICE)
    await until(lambda: len(workspace.messages) == 1)
    workspace.press("Reject", BOB)
    await until(lambda: buttons(workspace.messages[0]["blocks"]) == {})
    assert "Bob rejected" in json.dumps(workspace.messages[0]["blocks"])


async def test_the_same_signed_command_twice_is_one_invocation(workspace: Workspace) -> None:
    """Slack, or whoever listened in, sends it again: one message, one run."""
    sent = workspace.sender.command("deploy production api-service --version 1.4.2 --reason story-2", ALICE)
    for _ in range(2):
        assert workspace.deliver(sent).status_code == 200
    await until(lambda: workspace.messages and workspace.whispers)
    assert len(workspace.slack.of("chat.postMessage")) == 1
    workspace.press("Cancel", ALICE)
    await until(lambda: buttons(workspace.messages[0]["blocks"]) == {})


async def test_t05_a_captured_adapter_cannot_invent_a_person(workspace: Workspace, adapter: httpx2.Client) -> None:
    """Its token alone, a changed body, or a body it signed with a key of its own: each is an unproven actor."""
    genuine = workspace.sender.command("deploy staging api-service", DAVE)
    changed = Delivery(genuine.body.replace(DAVE, ALICE), genuine.headers)
    home_made = Sender("a-secret-that-is-not-slack-s-own").command("deploy staging api-service", ALICE)
    bare = {"text": "deploy staging api-service"}
    for body in (
        bare,
        carried(changed, "deploy staging api-service"),
        carried(home_made, "deploy staging api-service"),
    ):
        answer = say(adapter, body)
        assert (answer.status_code, answer.json()["code"]) == (403, "unproven_actor")


async def test_t05_the_text_is_read_from_what_was_signed(workspace: Workspace, adapter: httpx2.Client) -> None:
    """A captured adapter cannot put words into Alice's mouth: what she typed was a question."""
    asked = workspace.sender.command("whoami", ALICE)
    answer = say(adapter, carried(asked, "deploy staging api-service"))
    assert answer.status_code in (200, 403)
    if answer.status_code == 200:
        assert answer.json()["kind"] == "identity"


async def test_t05_another_workspace_is_refused(workspace: Workspace) -> None:
    """Signed or not: this adapter speaks for T0ACME only, and nobody but the sender hears of it."""
    workspace.sender.workspace = "T0EVIL"
    assert "workspace" in workspace.command("deploy staging api-service", ALICE)
    assert workspace.messages == []


async def test_t52_a_look_alike_card_of_another_app_votes_for_nothing(workspace: Workspace) -> None:
    """The press is signed, but its app is not this Opsgate: it is refused, and the message stays."""
    workspace.command("deploy production api-service --version 1.4.2 --reason story-3", ALICE)
    await until(lambda: len(workspace.messages) == 1)
    (waiting,) = workspace.messages
    workspace.sender.app = "A0LOOKALIKE"
    workspace.press("Approve", BOB)
    await until(lambda: workspace.whispers)
    assert "not made by this Opsgate" in workspace.whispers[0]
    assert workspace.messages == [waiting]
    workspace.sender.app = "A0OPSGATE"
    workspace.press("Cancel", ALICE)
    await until(lambda: buttons(workspace.messages[0]["blocks"]) == {})


async def test_t05_a_press_cannot_be_turned_into_another_vote(workspace: Workspace, adapter: httpx2.Client) -> None:
    """Bob pressed Reject on one card; carried as an Approve of it, or to another Invocation, it is refused."""
    workspace.command("deploy production api-service --version 1.4.2 --reason story-4", ALICE)
    await until(lambda: len(workspace.messages) == 1)
    reject = buttons(workspace.messages[0]["blocks"])["Reject"]
    shown = json.loads(reject["value"])
    proof = carried(workspace.sender.press(reject, BOB), "")["evidence"]
    ballot = {"verdict": "approve", "binding_hash": shown["binding_hash"], "evidence": proof}
    for invocation_id in (shown["id"], "inv_0000000000"):
        key = {"Idempotency-Key": f"story-{time.time_ns()}"}
        answer = adapter.post(f"/v1/invocations/{invocation_id}/votes", json=ballot, headers=key)
        assert answer.status_code in (403, 404), answer.text
    assert list(buttons(workspace.messages[0]["blocks"])) == ["Approve", "Reject", "Cancel"]
    workspace.press("Cancel", ALICE)
    await until(lambda: buttons(workspace.messages[0]["blocks"]) == {})


async def test_forged_identity_headers_change_nothing(workspace: Workspace) -> None:
    """Dave's signed command stays Dave's, whatever a proxy or a prankster adds to it."""
    sent = workspace.sender.command("deploy staging api-service", DAVE)
    forged = {"X-User": "alice", "X-Forwarded-User": "alice", "X-Slack-User": ALICE}
    answer = workspace.deliver(Delivery(sent.body, sent.headers | forged))
    assert answer.json()["response_type"] == "ephemeral"
    assert workspace.messages == []


async def test_what_slack_never_signed_is_refused_at_the_door(workspace: Workspace) -> None:
    """401 from the adapter; the gateway is not even asked."""
    body = urlencode({"team_id": "T0ACME", "user_id": BOB, "text": "approve inv_0000000000", "channel_id": CHANNEL})
    assert workspace.deliver(Delivery(body, {"x-slack-request-timestamp": "abc"})).status_code == 401
