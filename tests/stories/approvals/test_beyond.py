"""What else decides: rows 17 to 21 and 24 of the approvals reference, and fatigue (threat 50)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx2
import pytest

from opsgate.contracts.invocations import State
from opsgate.contracts.problems import Code
from tests.rig.slack import ADAPTER_TOKEN, Sender
from tests.rig.stages import SLACK_SIGNING_SECRET
from tests.stories.approvals.test_who import approve, ask
from tests.stories.room import refused, shown

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.stories.approvals.conftest import Guild


def test_a17_a_ticket_is_looked_up_never_believed(room: Guild) -> None:
    """Known and approved: it is on the card. Unknown, or not approved: refused, with what to do."""
    good = room.ask("alice", "deploy production api-service --version 1.4.2 --ticket OPS-12")
    assert good.state is State.PENDING
    assert good.ticket == "OPS-12"
    assert {f.label: f.value for f in good.card.facts}["Ticket"] == "OPS-12"
    room.say("alice", f"cancel {good.id}")
    unknown = room.ask("alice", "deploy production api-service --version 1.4.2 --ticket OPS-99999")
    assert [r.code for r in unknown.decision.reasons] == ["ticket_unverified"]
    unready = room.ask("alice", "deploy production api-service --version 1.4.2 --ticket OPS-13")
    assert [r.code for r in unready.decision.reasons] == ["ticket_not_approved"]
    assert "OPS-13" in unready.card.text


def test_a17_where_a_ticket_is_required_nothing_changes_without_one(room: Guild) -> None:
    with room.policy_data(tickets={"required": ["production"], "approved_states": ["approved"]}):
        denied = room.ask("alice", "deploy production api-service --version 1.4.2")
        assert [r.code for r in denied.decision.reasons] == ["ticket_needed"]
        assert "--ticket" in denied.card.text
        with_one = room.ask("alice", "deploy production api-service --version 1.4.2 --ticket OPS-12")
        assert with_one.state is State.PENDING
        room.say("alice", f"cancel {with_one.id}")


def test_a18_a_rule_stands_in_for_people_only_where_the_requirement_says_so(room: Guild) -> None:
    """It is named as the approver; a requirement for people still waits for people."""
    robot = room.ask("ivan", f"restart staging automatic --reason story-{time.time_ns()}")
    assert robot.state is not State.PENDING
    assert [s.by for s in robot.decision.requirements] == ["policy:robots_may"]
    assert "approved by policy:robots_may" in room.until("ivan", robot.id).card.text
    people = ask(room, "people-only")
    assert [s.by for s in people.decision.requirements] == [""]
    room.say("ivan", f"cancel {people.id}")


def slack_says(room: Guild, text: str, person: str) -> dict[str, object]:
    """A signed slash command, carried by the adapter."""
    sent = Sender(SLACK_SIGNING_SECRET).command(text, person)
    names = ("x-slack-signature", "x-slack-request-timestamp")
    headers = {name: value for name, value in sent.headers.items() if name.lower() in names}
    return {"platform": "slack", "body": sent.body, "headers": {k.lower(): v for k, v in headers.items()}}


def adapter(room: Guild) -> httpx2.Client:
    signed = {"Authorization": f"Bearer {ADAPTER_TOKEN}"}
    return httpx2.Client(base_url=room.stage.url, headers=signed, trust_env=False, timeout=15)


def test_a19_asked_in_slack_approved_elsewhere_is_one_record_of_both(room: Guild) -> None:
    """Alice types in Slack, Bob approves by REST: the Invocation says where each was."""
    text = f"deploy production api-service --version 1.4.2 --reason story-{time.time_ns()}"
    with adapter(room) as slack:
        body = {"text": "", "evidence": slack_says(room, text, "U0ALICE")}
        said = slack.post("/v1/messages", json=body, headers={"Idempotency-Key": uuid4().hex}).json()
    asked = room.see("bob", said["invocation"]["id"])
    assert asked.platform == "slack"
    approved = room.say("bob", f"approve {shown(asked)}").invocation
    assert approved is not None
    assert [v.platform for v in approved.votes] == ["web"]
    assert room.until("bob", asked.id).state is State.SUCCEEDED


def test_a20_a_click_in_chat_is_not_enough_to_destroy(room: Guild) -> None:
    """Bob's word by Slack is `verified`; the policy wants him signed in for this, and says so."""
    asked = room.ask("alice", f"migrate production api-service --version 1.4.2 --reason story-{time.time_ns()}")
    assert asked.state is State.PENDING
    with adapter(room) as slack:
        body = {"text": "", "evidence": slack_says(room, f"approve {shown(asked)}", "U0BOB")}
        said = slack.post("/v1/messages", json=body, headers={"Idempotency-Key": uuid4().hex}).json()
    assert said["kind"] == "refusal"
    assert "sign in again" in said["card"]["text"]
    assert room.see("alice", asked.id).votes == ()
    voted = room.say("bob", f"approve {shown(asked)}").invocation
    assert voted is not None
    (vote,) = voted.votes
    assert vote.assurance.value == "oidc"
    room.say("alice", f"cancel {asked.id}")


def test_a21_an_adapter_alone_cannot_vote(room: Guild) -> None:
    """Its token carries messages; without a person's signed press it is nobody."""
    waiting = ask(room, "two-owners")
    body = {"verdict": "approve", "binding_hash": waiting.binding_hash}
    with adapter(room) as slack:
        key = {"Idempotency-Key": uuid4().hex}
        refused(slack.post(f"/v1/invocations/{waiting.id}/votes", json=body, headers=key), 403, Code.UNPROVEN_ACTOR)
    assert room.see("ivan", waiting.id).votes == ()
    room.say("ivan", f"cancel {waiting.id}")


def test_a24_a_denial_has_a_code_a_sentence_and_a_next_step(room: Guild) -> None:
    denied = room.ask("dave", "deploy production api-service")
    assert denied.decision.next_action.value == "change"
    for reason in denied.decision.reasons:
        assert reason.code
        assert "sk" in reason.msg, "it says whom to ask"
    assert denied.card.examples


def test_t50_approvals_do_not_rain_on_people(room: Guild) -> None:
    """At most so many wait at once for one person, and a no is not asked again at once."""
    with room.new_policy():
        room.stage.files.limits(pending_per_person=2, cool_down_s=300)
    try:
        first, second = ask(room, "two-owners", "grace"), ask(room, "two-stages", "grace")
        third = room.ask("grace", f"restart staging people-only --reason story-{time.time_ns()}")
        assert [r.code for r in third.decision.reasons] == ["too_many_pending"]
        room.say("erin", f"reject {shown(first)} not now")
        again = room.ask("grace", f"restart staging two-owners --reason story-{time.time_ns()}")
        assert "cool_down" in {r.code for r in again.decision.reasons}
        assert approve(room, "heidi", second).kind == "invocation"
        room.say("grace", f"cancel {second.id}")
    finally:
        with room.new_policy():
            room.stage.files.limits(pending_per_person=1_000, cool_down_s=0)


def test_t49_who_floods_waits_and_nobody_else_does(room: Guild) -> None:
    """A bucket a person: Judy's script is slowed down with words, over both gateways; Ivan is not."""
    answers = [
        room.post("judy", "/v1/messages", {"text": "status api-service --reason x"}, node=n % 2) for n in range(160)
    ]
    slowed = [a for a in answers if a.status_code == 429]
    assert slowed
    problem = refused(slowed[0], 429, Code.RATE_LIMITED)
    assert "Wait" in problem.detail
    assert int(slowed[0].headers["Retry-After"]) > 0
    assert room.say("ivan", "whoami").kind == "identity"


def test_t47_an_id_of_what_is_not_theirs_is_nothing_to_anybody(room: Guild) -> None:
    """Dave's private denial: Alice finds it by no way that takes an id, and each answers as for one that never was."""
    denied = room.ask("dave", "deploy production api-service")
    never = "inv_0000000000"
    for path in ("", "/log"):
        seen = room.as_("alice").get(f"/v1/invocations/{denied.id}{path}")
        unknown = room.as_("alice").get(f"/v1/invocations/{never}{path}")
        assert seen.status_code == unknown.status_code == 404
        assert seen.json()["detail"] == unknown.json()["detail"].replace(never, denied.id)
    ballot = {"verdict": "approve", "binding_hash": denied.binding_hash}
    assert room.post("alice", f"/v1/invocations/{denied.id}/votes", ballot).status_code == 404
    assert room.post("alice", f"/v1/invocations/{denied.id}/cancel", {}).status_code == 404
    for line in ("status", "approve", "reject", "withdraw", "cancel"):
        answer = room.post("alice", "/v1/messages", {"text": f"{line} {denied.id}"})
        assert answer.status_code == 404, line
