"""Agreed to exactly this: rows 9 to 12 and 22 of the approvals reference."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from opsgate.contracts.invocations import State
from tests.stories.approvals.conftest import RULES
from tests.stories.approvals.test_who import approve, ask
from tests.stories.room import shown

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.stories.approvals.conftest import Guild


def test_a09_a_vote_for_another_hash_than_was_asked_counts_for_nothing(room: Guild) -> None:
    """A card that shows something else is out of date; the right one is good; what runs is what was hashed."""
    waiting = room.ask("alice", f"deploy production api-service --version 1.4.1 --reason story-{time.time_ns()}")
    other = room.ask("alice", f"deploy production api-service --version 1.4.2 --reason story-{time.time_ns()}")
    assert other.binding_hash != waiting.binding_hash
    body = {"verdict": "approve", "binding_hash": other.binding_hash}
    stale = room.post("bob", f"/v1/invocations/{waiting.id}/votes", body).json()
    assert stale["kind"] == "refusal"
    assert "out of date" in stale["card"]["text"]
    assert room.say("bob", f"approve {waiting.id} 00000000").kind == "refusal"
    room.say("bob", f"approve {shown(waiting)}")
    assert room.until("alice", waiting.id).state is State.SUCCEEDED
    assert room.version("api-service", "production") == "1.4.1"
    room.say("alice", f"cancel {other.id}")


def test_a10_other_requirements_void_what_was_agreed_to_before(room: Guild) -> None:
    """Erin agreed when two owners sufficed; now security must agree too, so everybody is asked anew."""
    waiting = ask(room, "two-owners")
    approve(room, "erin", waiting)
    more = 'require contains needs("more", ["security"], 1, 600) if input.resource.service == "two-owners"'
    file = room.stage.files.policies / "teams" / "guild.rego"
    with room.new_policy():
        file.write_text(f"{RULES}\n{more}\n")
    try:
        after = approve(room, "frank", waiting).invocation
        assert after is not None
        assert after.state is State.PENDING
        assert after.votes == (), "both agreed to less than is asked now"
        assert {s.requirement.id for s in after.decision.requirements} == {"two_owners", "more"}
    finally:
        with room.new_policy():
            file.write_text(RULES)
        room.say("ivan", f"cancel {waiting.id}")


def test_a10_to_destroy_any_change_of_the_policy_voids_a_vote(room: Guild) -> None:
    """Bob agreed to a migration under one policy; under the next, if only a comment changed, his vote is void."""
    asked = room.ask("alice", f"migrate staging api-service --version 1.4.2 --reason story-{time.time_ns()}")
    assert asked.state is State.PENDING
    room.say("bob", f"approve {shown(asked)}")
    file = room.stage.files.policies / "words.rego"
    before = file.read_text()
    with room.new_policy():
        file.write_text(before + "\n# another revision\n")
    try:
        after = room.say("carol", f"approve {shown(asked)}").invocation
        assert after is not None
        assert after.state is State.PENDING
        assert {s.requirement.id: s.met for s in after.decision.requirements}["destroy_owner"] is False
        assert "vote_void" in {r.code for r in after.decision.reasons}
    finally:
        room.say("alice", f"cancel {asked.id}")
        with room.new_policy():
            file.write_text(before)


def test_a11_the_policy_is_asked_again_when_the_job_starts(room: Guild) -> None:
    """Approved, then security tightens the policy while the job waits: it does not start, and the thread says why."""
    file = room.stage.files.policies / "teams" / "payments.rego"
    before = file.read_text()
    rule = 'deny contains {"code": "tightened", "msg": "Not this week."} if input.action.name == "deploy"\n'
    with room.busy():
        asked = room.ask("alice", f"deploy production api-service --version 1.4.2 --reason story-{time.time_ns()}")
        room.say("bob", f"approve {shown(asked)}")
        with room.new_policy():
            file.write_text(before + rule)
    try:
        ended = room.until("alice", asked.id, State.DENIED)
        assert [r.code for r in ended.decision.reasons] == ["tightened"]
        assert ended.decision.phase == "execute"
        assert room.effects(asked.id) == 0
        assert room.audited(asked.id)[-1] == "job.refused"
    finally:
        with room.new_policy():
            file.write_text(before)


def test_a12_the_same_asking_twice_is_one_card(room: Guild) -> None:
    """Identical open askings of one person collapse, from whichever gateway; another reason is another asking."""
    line = f"deploy production api-service --version 1.4.2 --reason story-{time.time_ns()}"
    first = room.ask("alice", line)
    again = room.ask("alice", line, node=1)
    other = room.ask("alice", f"{line}-b")
    assert again.id == first.id
    assert other.id != first.id
    room.say("alice", f"cancel {first.id}")
    anew = room.ask("alice", line)
    assert anew.id != first.id, "what is over does not stand in the way"
    for view in (other, anew):
        room.say("alice", f"cancel {view.id}")


def test_a22_the_card_shows_what_will_happen_and_the_press_carries_what_it_showed(room: Guild) -> None:
    """Resolved targets, reasons, what it takes; the button and the typed line carry the hash."""
    waiting = room.ask("alice", f"deploy production api-service --reason story-{time.time_ns()}")
    facts = {f.label: f.value for f in waiting.card.facts}
    assert facts["Touches"] == "1 service: api-service in production, 3 replicas"
    assert facts["Version"] == "1.4.2", "`latest` is resolved before anybody agrees to it"
    assert any("needs the approval of 1 person from owners:api-service" in line for line in waiting.card.bullets)
    button = next(b for b in waiting.card.buttons if b.action == "approve")
    assert button.binding_hash == waiting.binding_hash
    assert button.command == f"approve {shown(waiting)}"
    looked = room.say("bob", f"approve {waiting.id}")
    assert looked.kind == "invocation"
    assert looked.invocation is not None
    assert looked.invocation.votes == (), "without the digits nobody has seen anything yet"
    assert f"approve {shown(waiting)}" in looked.card.text
    room.say("alice", f"cancel {waiting.id}")


def test_a12_an_approval_is_used_up_by_its_run(room: Guild) -> None:
    """The same command afterwards needs its own approval."""
    line = f"restart production api-service --reason story-{time.time_ns()}"
    first = room.ask("alice", line)
    room.say("bob", f"approve {shown(first)}")
    room.until("alice", first.id, State.SUCCEEDED)
    second = room.ask("alice", line)
    assert (second.state, second.votes) == (State.PENDING, ())
    late = room.post(
        "bob",
        f"/v1/invocations/{first.id}/votes",
        json.loads(json.dumps({"verdict": "approve", "binding_hash": first.binding_hash})),
        key=uuid4().hex,
    )
    assert late.json()["kind"] == "refusal"
    assert room.effects(first.id) == 1
    room.say("alice", f"cancel {second.id}")
