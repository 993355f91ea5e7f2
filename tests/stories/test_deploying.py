"""The main job: a command typed in a chat is decided, approved, run and reported."""

from __future__ import annotations

from datetime import timedelta

import pytest

from opsgate.contracts.invocations import State
from tests.stories.room import Room, shown


def test_a_staging_deploy_runs_at_once_and_the_fleet_really_runs_the_new_version(room: Room) -> None:
    """Staging is open: no approval, one effect, and the version that was asked for."""
    wanted = "1.4.0" if room.version("api-service", "staging") != "1.4.0" else "1.4.2"
    asked = room.ask("alice", f"/ops deploy staging api-service --version {wanted}")
    assert asked.state is State.QUEUED
    done = room.until("alice", asked.id, State.SUCCEEDED)
    assert room.version("api-service", "staging") == wanted
    assert room.effects(asked.id) == 1
    assert done.card.text.startswith(f"api-service {wanted} is live in staging. Asked by Alice. ")
    assert done.job is not None
    assert done.job.duration_s is not None
    assert 0 < done.job.duration_s < 20
    assert done.card.text.endswith(" s.")


def test_a_production_deploy_waits_is_approved_by_an_owner_runs_and_ends_in_one_sentence(room: Room) -> None:
    """The story of the README: Alice asks, cannot approve herself, Dave cannot either, Bob does, and it goes live."""
    waiting = room.ask("alice", '/ops deploy production api-service --version 1.4.2 --reason "new checkout"')
    assert waiting.state is State.PENDING
    assert waiting.visibility == "channel"
    assert "Waits for 1 approval from owners:api-service, until " in waiting.card.text
    assert f"approve {shown(waiting)}" in waiting.card.text
    assert any("needs the approval of 1 person from owners:api-service" in b for b in waiting.card.bullets)
    assert {b.action for b in waiting.card.buttons} == {"approve", "reject", "cancel"}
    assert waiting.expires_at is not None
    assert waiting.expires_at - waiting.created_at == timedelta(minutes=30)
    facts = {fact.label: fact.value for fact in waiting.card.facts}
    assert facts["Version"] == "1.4.2"
    assert facts["Reason"] == "new checkout"
    assert facts["Needs (owner)"] == "0 of 1 from owners:api-service"

    own = room.say("alice", f"approve {shown(waiting)}")
    assert own.kind == "refusal"
    assert own.private
    assert own.card.text.startswith("You asked for this yourself, so you cannot approve it.")
    outsider = room.say("dave", f"approve {shown(waiting)}")
    assert outsider.kind == "refusal"
    assert "takes somebody of owners:api-service" in outsider.card.text
    assert room.see("alice", waiting.id).state is State.PENDING

    approved = room.say("bob", f"approve {shown(waiting)} looks good")
    assert approved.kind == "invocation"
    assert not approved.private
    done = room.until("alice", waiting.id, State.SUCCEEDED)
    assert room.version("api-service", "production") == "1.4.2"
    assert room.effects(waiting.id) == 1
    assert "api-service 1.4.2 is live in production. Asked by Alice, approved by Bob. " in done.card.text
    assert "Bob approved: looks good" in done.card.bullets
    assert [vote.by.name for vote in done.votes if vote.counts] == ["Bob"]
    assert any("is healthy on 1.4.2" in line for line in room.log("alice", waiting.id))
    kinds = room.audited(waiting.id)
    assert kinds[0] == "invocation.asked"
    assert kinds[-1] == "job.ended"
    assert kinds.count("vote.approve.refused") == 2
    assert kinds.count("vote.approve") == 1


def test_one_rejection_ends_it_and_nothing_runs(room: Room) -> None:
    """Bob says no, with a reason that everybody sees; a later yes changes nothing."""
    waiting = room.ask("alice", "deploy production api-service --version 1.4.1")
    rejected = room.say("bob", f"reject {shown(waiting)} not on a Friday")
    assert rejected.invocation is not None
    assert rejected.invocation.state is State.DENIED
    assert rejected.invocation.visibility == "channel"
    assert "Bob rejected: not on a Friday" in rejected.card.bullets
    again = room.say("bob", f"approve {shown(waiting)}")
    assert again.kind == "refusal"
    assert "There is nothing to decide any more" in again.card.text
    assert room.effects(waiting.id) == 0


@pytest.mark.slow
def test_a_destroy_needs_an_owner_and_security_and_they_are_two_people(room: Room) -> None:
    """A migration cannot be undone: one of the owners and one of security, never the same head."""
    waiting = room.ask("alice", "migrate production api-service --version 1.4.2")
    needs = {f.label: f.value for f in waiting.card.facts if f.label.startswith("Needs")}
    assert needs == {
        "Needs (destroy_owner)": "0 of 1 from owners:api-service",
        "Needs (destroy_security)": "0 of 1 from security",
    }
    half = room.say("bob", f"approve {shown(waiting)}")
    assert half.invocation is not None
    assert half.invocation.state is State.PENDING
    assert "Waits for 1 approval from security" in half.card.text
    assert room.effects(waiting.id) == 0
    twice = room.say("bob", f"approve {shown(waiting)}")
    assert twice.invocation is not None
    assert twice.invocation.state is State.PENDING, "one person fills one place, however often they click"
    assert len(twice.invocation.votes) == 1
    room.say("carol", f"approve {shown(waiting)}")
    done = room.until("alice", waiting.id, State.SUCCEEDED)
    assert "Asked by Alice, approved by Bob and Carol." in done.card.text
    assert room.effects(waiting.id) == 1


def test_somebody_who_has_approved_may_change_their_mind_until_it_is_decided(room: Room) -> None:
    """Bob's yes is followed by his no, before Carol spoke: it ends as rejected."""
    waiting = room.ask("alice", "migrate production api-service --version 1.4.0")
    room.say("bob", f"approve {shown(waiting)}")
    changed = room.say("bob", f"reject {shown(waiting)} I looked again")
    assert changed.invocation is not None
    assert changed.invocation.state is State.DENIED
    assert [(v.by.name, v.verdict) for v in changed.invocation.votes] == [("Bob", "reject")]
    assert room.effects(waiting.id) == 0


def test_a_button_is_bound_to_what_its_card_showed(room: Room) -> None:
    """A press carries the hash of what was on the screen; another hash is out of date and not counted."""
    waiting = room.ask("alice", "deploy production api-service --version 1.4.0")
    pressed = {"verdict": "approve", "binding_hash": "sha256:" + "0" * 64}
    answer = room.post("bob", f"/v1/invocations/{waiting.id}/votes", pressed).json()
    assert answer["kind"] == "refusal"
    assert "Your card is out of date" in answer["card"]["text"]
    assert room.see("bob", waiting.id).state is State.PENDING
    room.say("alice", f"cancel {waiting.id}")


@pytest.mark.slow
def test_the_others_deploy_waits_for_the_one_that_holds_the_target(room: Room) -> None:
    """Two deploys of one service at once: the second starts when the first has ended, and both happen once."""
    first = room.ask("alice", "deploy staging api-service --version 1.4.0")
    room.until("alice", first.id, State.RUNNING, State.SUCCEEDED)
    second = room.ask("bob", "deploy staging api-service --version 1.4.2")
    done = room.until("bob", second.id, State.SUCCEEDED, within_s=30)
    ended = room.see("alice", first.id)
    assert ended.state is State.SUCCEEDED
    assert done.job is not None
    assert ended.job is not None
    assert done.job.started_at is not None
    assert ended.job.finished_at is not None
    # Both moments are taken just before they are written down: the lock is what keeps them apart.
    assert done.job.started_at >= ended.job.finished_at - timedelta(milliseconds=100)
    assert (room.effects(first.id), room.effects(second.id)) == (1, 1)
    assert room.version("api-service", "staging") == "1.4.2"
