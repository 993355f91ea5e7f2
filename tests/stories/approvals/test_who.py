"""Who agrees: rows 1 to 6, 9, 15 and 23 of the approvals reference."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from opsgate.contracts.invocations import Answer, InvocationView, State
from tests.stories.room import shown

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.stories.approvals.conftest import Guild

WAITING = State.PENDING


def ask(room: Guild, service: str, person: str = "ivan") -> InvocationView:
    """A fresh asking: the reason makes it another one than those of other stories."""
    asked = room.ask(person, f"restart staging {service} --reason story-{time.time_ns()}")
    assert asked.state is WAITING, asked.card.text
    return asked


def approve(room: Guild, person: str, view: InvocationView, node: int = 0) -> Answer:
    return room.say(person, f"approve {shown(view)}", node=node)


def test_a01_a_quorum_counts_people_not_clicks(room: Guild) -> None:
    """Two owners must agree: one of them twice, from two gateways, is still one."""
    waiting = ask(room, "two-owners")
    assert "2 approvals from owners:guild" in waiting.card.text
    for node in (0, 1):
        half = approve(room, "erin", waiting, node)
        assert half.invocation is not None
        assert half.invocation.state is WAITING
        (status,) = half.invocation.decision.requirements
        assert (status.have, status.requirement.quorum) == (1, 2)
    done = approve(room, "frank", waiting)
    assert done.invocation is not None
    assert done.invocation.state is not WAITING


def test_a02_requirements_are_a_set_and_the_card_says_what_is_missing(room: Guild) -> None:
    """Owners and security: each line shows how far it is; what is met is no longer asked for."""
    waiting = ask(room, "two-stages")
    facts = {f.label: f.value for f in waiting.card.facts}
    assert facts["Needs (owner_stage)"] == "0 of 1 from owners:guild"
    assert facts["Needs (security_stage)"] == "0 of 1 from security"
    half = approve(room, "carol", waiting).invocation
    assert half is not None
    assert "Waits for 1 approval from owners:guild, until" in half.card.text
    assert {f.label: f.value for f in half.card.facts}["Needs (security_stage)"] == "1 of 1 from security"
    room.say("ivan", f"cancel {waiting.id}")


def test_a03_one_person_cannot_stand_for_two_stages(room: Guild) -> None:
    """Heidi is an owner and of security: she fills one place, whichever is of use when another comes."""
    for second in ("erin", "carol"):
        waiting = ask(room, "two-stages")
        half = approve(room, "heidi", waiting).invocation
        assert half is not None
        assert half.state is WAITING
        assert sum(s.have for s in half.decision.requirements) == 1
        done = approve(room, second, waiting).invocation
        assert done is not None
        assert done.state is not WAITING, second


def test_a04_nobody_approves_their_own_from_any_account_or_through_anybody(room: Guild) -> None:
    """Not the asker, not the owner of an asking service account."""
    own = ask(room, "two-owners", "erin")
    refused = approve(room, "erin", own)
    assert refused.kind == "refusal"
    assert "You asked for this yourself" in refused.card.text
    room.say("erin", f"cancel {own.id}")

    by_robot = ask(room, "two-owners", "robot")
    refused = approve(room, "erin", by_robot)
    assert refused.kind == "refusal"
    assert "on your account" in refused.card.text
    assert approve(room, "frank", by_robot).kind == "invocation"
    room.say("erin", f"cancel {by_robot.id}")


def test_a05_groups_count_as_they_are_when_the_job_starts(room: Guild) -> None:
    """Bob approves, then is no owner any more while the job still waits: it waits for an approval again."""
    before = room.groups("bob")
    with room.busy():
        asked = room.ask("alice", f"deploy production api-service --version 1.4.2 --reason story-{time.time_ns()}")
        queued = room.say("bob", f"approve {shown(asked)}").invocation
        assert queued is not None
        assert queued.state is State.QUEUED
        room.regroup("bob", [g for g in before if not g.startswith("owners:")])
    try:
        again = room.until("alice", asked.id, State.PENDING, State.RUNNING)
        assert again.state is State.PENDING, again.card.text
        assert room.effects(asked.id) == 0
    finally:
        room.regroup("bob", before)
        room.say("alice", f"cancel {asked.id}")


def test_a06_one_no_ends_it_and_only_of_somebody_who_is_asked(room: Guild) -> None:
    """Dave's no is nothing; Erin may turn her yes into a no while it is open, and then it is over for everybody."""
    waiting = ask(room, "two-owners")
    assert room.say("dave", f"reject {shown(waiting)} no").kind == "refusal"
    assert approve(room, "erin", waiting).kind == "invocation"
    ended = room.say("erin", f"reject {shown(waiting)} I looked again").invocation
    assert ended is not None
    assert ended.state is State.DENIED
    assert [r.code for r in ended.decision.reasons] == ["rejected"]
    assert any("Erin rejected: I looked again" in line for line in ended.card.bullets)
    late = approve(room, "frank", waiting)
    assert late.kind == "refusal"
    assert "nothing to decide any more" in late.card.text


def test_a09_a_service_account_never_approves(room: Guild) -> None:
    """Whoever owns it, and although it could ask."""
    waiting = ask(room, "two-owners")
    refused = approve(room, "robot", waiting)
    assert refused.kind == "refusal"
    room.say("ivan", f"cancel {waiting.id}")


def test_a15_a_delegate_votes_in_anothers_place_and_both_names_are_kept(room: Guild) -> None:
    """Carol hands her approvals to Ivan for an hour: his vote counts as hers, but never for what he asked himself."""
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    body = {"to": "ivan", "until": until, "reason": "on a plane"}
    made = room.post("carol", "/v1/delegations", body)
    assert made.status_code in (200, 201), made.text
    waiting = ask(room, "two-stages", "frank")
    half = approve(room, "ivan", waiting).invocation
    assert half is not None
    (vote,) = half.votes
    assert vote.by.id == "ivan"
    assert vote.on_behalf_of is not None
    assert vote.on_behalf_of.id == "carol"
    assert any("Ivan for Carol approved" in line for line in half.card.bullets)
    assert {s.requirement.id: s.met for s in half.decision.requirements} == {
        "owner_stage": False,
        "security_stage": True,
    }
    done = approve(room, "erin", waiting).invocation
    assert done is not None
    assert done.state is not WAITING

    own = ask(room, "two-stages", "ivan")
    assert approve(room, "ivan", own).kind == "refusal"
    room.say("ivan", f"cancel {own.id}")
    ended = room.as_("carol").delete(f"/v1/delegations/{made.json()['id']}", headers={"Idempotency-Key": "end-1"})
    assert ended.is_success, ended.text


def test_a23_who_asks_learns_groups_never_who_is_in_them(room: Guild) -> None:
    """Neither a waiting card nor a denial names the people who could decide."""
    names = ("Erin", "Frank", "Grace", "Heidi", "erin", "frank", "grace", "heidi")
    waiting = ask(room, "two-stages")
    denied = room.ask("dave", "deploy production api-service")
    said = waiting.model_dump_json() + denied.model_dump_json() + room.say("ivan", "approvals").model_dump_json()
    assert not [name for name in names if name in said]
    room.say("ivan", f"cancel {waiting.id}")
