"""Stopping: one command, or all changes; and what is told when the fleet itself fails."""

from __future__ import annotations

import pytest

from opsgate.contracts.invocations import State
from tests.stories.room import Room, shown


def test_who_asked_cancels_before_anybody_approved_and_nothing_runs(room: Room) -> None:
    """A waiting command ends at once, and says that nothing was run."""
    waiting = room.ask("alice", "deploy production api-service --version 1.4.1")
    stopped = room.say("alice", f"cancel {waiting.id} wrong version")
    assert stopped.invocation is not None
    assert stopped.invocation.state is State.CANCELLED
    assert stopped.card.text == "Cancelled by Alice. Nothing was run."
    assert room.say("bob", f"approve {shown(waiting)}").kind == "refusal"
    assert room.effects(waiting.id) == 0


def test_a_stranger_cannot_cancel_what_others_asked_for(room: Room) -> None:
    """Dave is told who can."""
    waiting = room.ask("alice", "deploy production api-service --version 1.4.1")
    answer = room.say("dave", f"cancel {waiting.id}")
    assert answer.kind == "refusal"
    assert answer.private
    assert answer.card.text == "Only Alice or owners:api-service can stop this."
    assert room.see("alice", waiting.id).state is State.PENDING
    assert room.say("bob", f"cancel {waiting.id}").card.text.startswith("Cancelled by Bob.")


def test_a_running_deploy_is_stopped_by_the_worker_and_the_fleet_is_put_back(room: Room) -> None:
    """The answer says it was asked to stop; the end says who stopped it, and the old version is live."""
    before = room.version("api-service", "staging")
    room.trouble(service="api-service", slow_s=20)
    running = room.ask("alice", f"deploy staging api-service --version {'1.4.0' if before != '1.4.0' else '1.4.2'}")
    room.until("alice", running.id, State.RUNNING)
    asked = room.say("alice", f"cancel {running.id}")
    assert asked.invocation is not None
    assert asked.invocation.job is not None
    assert asked.invocation.job.cancel_requested
    assert asked.card.text.endswith("(asked to stop)")
    again = room.say("alice", f"cancel {running.id}")
    assert again.card.text == "Alice asked to stop it already. It stops as soon as the worker can."
    ended = room.until("alice", running.id, State.CANCELLED, within_s=10)
    assert ended.card.text.startswith("Cancelled by Alice. ")
    assert "is back as it was" in ended.card.text
    assert room.version("api-service", "staging") == before


def test_a_freeze_stops_changes_at_once_reading_still_works_and_lifting_it_releases_them(room: Room) -> None:
    """Carol of security freezes production; not even a deploy that would wait is taken, until she lifts it."""
    frozen = room.say("carol", '/ops freeze production --for 2h --reason "checkout incident"')
    try:
        assert frozen.invocation is not None
        assert frozen.invocation.state is State.SUCCEEDED
        assert "Changes to production are frozen for 2 h 0 min: checkout incident." in frozen.card.text
        denied = room.ask("alice", "deploy production api-service --version 1.4.2")
        assert denied.state is State.DENIED
        assert [r.code for r in denied.decision.reasons] == ["frozen"]
        assert "checkout incident" in denied.card.text
        status = room.ask("alice", "status api-service production")
        room.until("alice", status.id, State.SUCCEEDED)
        staging = room.say("alice", "why deploy staging api-service")
        assert staging.card.title == "Would be: allow", "only production is frozen"
        assert room.ask("alice", "unfreeze production").state is State.DENIED, "its subject cannot lift it"
    finally:
        lifted = room.say("carol", "unfreeze production")
    assert lifted.card.text.startswith("The freeze of production is lifted.")
    waiting = room.ask("alice", "deploy production api-service --version 1.4.2")
    assert waiting.state is State.PENDING
    room.say("alice", f"cancel {waiting.id}")


def test_a_freeze_also_stops_what_was_asked_before_it(room: Room) -> None:
    """An approval given during the freeze does not help: the policy is asked again with every vote."""
    waiting = room.ask("alice", "deploy production api-service --version 1.4.2")
    room.say("carol", "freeze production api-service --reason incident")
    try:
        voted = room.say("bob", f"approve {shown(waiting)}")
        assert voted.invocation is not None
        assert voted.invocation.state is State.DENIED
        assert [r.code for r in voted.invocation.decision.reasons] == ["frozen"]
        assert room.effects(waiting.id) == 0
    finally:
        room.say("carol", "unfreeze production api-service")


@pytest.mark.slow
def test_a_rollout_that_fails_is_reported_as_failed_in_words(room: Room) -> None:
    """The fleet puts the old version back; the sentence says what happened, who asked, and how long it took."""
    before = room.version("api-service", "staging")
    room.trouble(service="api-service", fail_rollout=True)
    asked = room.ask("alice", f"deploy staging api-service --version {'1.4.0' if before != '1.4.0' else '1.4.2'}")
    failed = room.until("alice", asked.id, State.FAILED)
    assert failed.card.tone == "failure"
    assert "did not become healthy, so the rollout was undone" in failed.card.text
    assert " Asked by Alice. " in failed.card.text
    assert room.version("api-service", "staging") == before
    assert any("did not become healthy in time" in line for line in room.log("alice", asked.id))


def test_a_version_that_does_not_exist_fails_with_the_nearest_ones_there_are(room: Room) -> None:
    """The fleet refuses it; nothing was changed and the words are the fleet's."""
    asked = room.ask("alice", "deploy staging api-service --version 9.9.9")
    failed = room.until("alice", asked.id, State.FAILED)
    assert "has no version 9.9.9" in failed.card.text
    assert "1.4.2" in failed.card.text
    assert room.effects(asked.id) == 0


def test_a_fleet_that_answers_late_is_waited_for(room: Room) -> None:
    """Every answer of the fleet takes a second: the command ends well all the same."""
    room.trouble(service="api-service", delay_s=1.0)
    asked = room.ask("alice", "status api-service staging")
    done = room.until("alice", asked.id, State.SUCCEEDED)
    assert done.job is not None
    assert done.job.duration_s is not None
    assert done.job.duration_s >= 1.0
