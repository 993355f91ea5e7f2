"""Until when: rows 7, 8, 13 and 16 of the approvals reference."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from opsgate.contracts.invocations import State
from tests.stories.approvals.test_who import approve, ask
from tests.stories.room import shown

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.stories.approvals.conftest import Guild

ALL_WEEK = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def test_a07_an_asking_expires_at_an_absolute_time_that_a_requirement_may_set(room: Guild) -> None:
    """Half an hour unless the policy says otherwise; when it is over nothing runs, and the card says so."""
    usual = ask(room, "two-owners")
    assert usual.expires_at is not None
    assert usual.expires_at - usual.created_at == timedelta(minutes=30)
    room.say("ivan", f"cancel {usual.id}")

    hasty = ask(room, "hasty")
    assert hasty.expires_at is not None
    assert hasty.expires_at - hasty.created_at == timedelta(seconds=2)
    ended = room.until("ivan", hasty.id, State.EXPIRED)
    assert "Nobody approved it in time" in ended.card.text
    assert approve(room, "erin", hasty).kind == "refusal"


def test_a08_an_approval_runs_out_before_the_quorum_is_there(room: Guild) -> None:
    """Erin's yes is good for two seconds; Frank's comes later, so one is missing still, until Erin says it again."""
    waiting = ask(room, "fleeting")
    approve(room, "erin", waiting)
    time.sleep(2.2)
    late = approve(room, "frank", waiting).invocation
    assert late is not None
    assert late.state is State.PENDING
    assert "vote_expired" in {r.code for r in late.decision.reasons}
    done = approve(room, "erin", waiting).invocation
    assert done is not None
    assert done.state is not State.PENDING


def test_a13_a_vote_is_taken_back_until_the_claim_and_then_it_waits_again(room: Guild) -> None:
    """Bob takes his yes back while the job waits for the target; after the claim only cancelling is left."""
    with room.busy():
        asked = room.ask("alice", f"deploy production api-service --version 1.4.2 --reason story-{time.time_ns()}")
        queued = room.say("bob", f"approve {shown(asked)}").invocation
        assert queued is not None
        assert queued.state is State.QUEUED
        back = room.say("bob", f"withdraw {asked.id}").invocation
        assert back is not None
        assert back.state is State.PENDING
        assert back.votes == ()
    assert room.say("alice", f"withdraw {asked.id}").kind == "refusal", "she never voted"
    room.trouble(service="api-service", slow_s=3)
    room.say("bob", f"approve {shown(asked)}")
    room.until("alice", asked.id, State.RUNNING)
    late = room.say("bob", f"withdraw {asked.id}")
    assert late.kind == "refusal"
    assert f"cancel {asked.id}" in late.card.text
    room.say("bob", f"cancel {asked.id}")
    room.until("alice", asked.id, State.CANCELLED, State.SUCCEEDED)


def test_a16_changes_wait_for_their_window_and_what_runs_may_finish(room: Guild) -> None:
    """Outside its window a change is refused and told when to come; reads pass; what started inside goes on."""
    never = {"name": "never", "kind": "deny", "environments": ["staging"], "services": ["api-service"], "zone": "UTC"}
    never |= {"weekdays": ALL_WEEK, "from": "00:00", "to": "00:00"}
    room.trouble(service="api-service", slow_s=4)
    running = room.ask("alice", f"restart staging api-service --reason story-{time.time_ns()}")
    room.until("alice", running.id, State.RUNNING)
    with room.policy_data(windows=[never]):
        denied = room.ask("alice", "deploy staging api-service --version 1.4.1")
        assert denied.state is State.DENIED
        assert [r.code for r in denied.decision.reasons] == ["window_closed"]
        assert "never" in denied.card.text
        assert room.ask("alice", "status api-service").state is not State.DENIED
        assert room.until("alice", running.id).state is State.SUCCEEDED, "what started inside the window may finish"


def test_a16_what_has_not_started_when_the_window_closes_does_not_start(room: Guild) -> None:
    """The policy is asked again at the claim: the window closed while the job waited for its target."""
    closed = {"name": "night", "kind": "deny", "environments": ["production"], "services": [], "zone": "UTC"}
    closed |= {"weekdays": ALL_WEEK, "from": "00:00", "to": "00:00"}
    with room.busy():
        asked = room.ask("alice", f"deploy production api-service --version 1.4.2 --reason story-{time.time_ns()}")
        room.say("bob", f"approve {shown(asked)}")
        closing = room.policy_data(windows=[closed])
        closing.__enter__()
    try:
        ended = room.until("alice", asked.id, State.DENIED)
        assert "window_closed" in {r.code for r in ended.decision.reasons}
        assert room.effects(asked.id) == 0
    finally:
        closing.__exit__(None, None, None)
