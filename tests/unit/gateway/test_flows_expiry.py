"""Everything that waits has an end, and nothing happens after it: approvals, votes, leases and Jobs, by one clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.domain.invocation import NS
from gateway.flows.drafting import DEFAULT_WAIT_S
from gateway.flows.gate import LEASE_NS
from gateway.flows.reconcile import GRACE_NS, reconcile
from opsgate.contracts.invocations import State
from tests.unit.gateway.scene import MINUTE, OWNERS, SECURITY, Scene, empty_store, needs, scene_in


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return empty_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
async def scene(empty: Path, tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene_in(tmp_path, empty) as made:
        yield made


async def test_what_nobody_approves_expires_at_its_minute_and_not_before(scene: Scene) -> None:
    """Thirty minutes; one nanosecond earlier it still waits."""
    inv = await scene.ask()
    assert inv.expires_ns == scene.clock.now + DEFAULT_WAIT_S * NS
    scene.clock.now = inv.expires_ns - 1
    assert await reconcile(scene.gate) == 0
    scene.clock.now += 1
    assert await reconcile(scene.gate) == 1
    after = await scene.now(inv)
    assert (after.state, after.version) == (State.EXPIRED, inv.version + 1)
    assert await scene.audited(inv.id) == ["invocation.asked", "invocation.expired"]
    assert await reconcile(scene.gate) == 0, "once"


async def test_t53_a_vote_on_an_old_card_decides_nothing(scene: Scene) -> None:
    """A day later, by whoever may; the refusal is recorded."""
    inv = await scene.ask()
    scene.clock.now += 24 * 60 * MINUTE
    await reconcile(scene.gate)
    answer = await scene.vote(inv)
    assert (answer.kind, answer.private) == ("refusal", True)
    assert "nothing to decide any more" in answer.card.text
    assert (await scene.now(inv)).state is State.EXPIRED
    assert (await scene.audited(inv.id))[-1] == "vote.approve.refused"


@pytest.mark.parametrize("late_ns", [0, 1, 3600 * NS])
async def test_t53_a_vote_after_the_time_does_not_count_though_nobody_swept_yet(scene: Scene, late_ns: int) -> None:
    """The clock decides, not when the reconciler comes by."""
    inv = await scene.ask()
    scene.clock.now = inv.expires_ns + late_ns
    answer = await scene.vote(inv)
    assert answer.kind == "refusal"
    assert "Ask again" in answer.card.text
    assert (await scene.now(inv)).state is State.PENDING
    await reconcile(scene.gate)
    assert (await scene.now(inv)).state is State.EXPIRED


async def test_an_approval_that_runs_out_before_a_worker_is_there_starts_nothing(scene: Scene) -> None:
    """It expires with words of its own; the message that was sent wakes nothing any more."""
    scene.policy.rule = needs(OWNERS, ttl_s=600)
    inv, message = await scene.approved()
    scene.clock.now += 601 * NS
    await reconcile(scene.gate)
    assert (await scene.now(inv)).state is State.EXPIRED
    assert (await scene.claim(message)).why == "it is expired"


async def test_an_approval_that_ran_out_does_not_count_at_the_claim_though_nobody_swept_yet(scene: Scene) -> None:
    """The worker comes first: it gets nothing, and the sweep ends it."""
    scene.policy.rule = needs(OWNERS, ttl_s=600)
    inv, message = await scene.approved()
    scene.clock.now += 600 * NS
    assert (await scene.claim(message)).why == "what allowed it has run out; the reconciler ends it"
    await reconcile(scene.gate)
    assert (await scene.now(inv)).state is State.EXPIRED


async def test_whose_vote_ran_out_while_others_were_waited_for_votes_again(scene: Scene) -> None:
    """The same person, the same yes: a new vote, not a double click."""
    scene.policy.rule = needs(OWNERS, SECURITY, ttl_s=600)
    inv = await scene.ask()
    await scene.vote(inv, "bob")
    first = (await scene.now(inv)).votes
    await scene.vote(inv, "bob")
    assert (await scene.now(inv)).votes == first, "a double click changes nothing"
    scene.clock.now += 601 * NS
    await scene.vote(inv, "carol")
    assert (await scene.now(inv)).state is State.PENDING
    await scene.vote(inv, "bob")
    after = await scene.now(inv)
    assert after.state is State.QUEUED
    assert sorted(v.by for v in after.votes) == ["bob", "carol"]


async def test_a_worker_that_dies_loses_its_job_when_its_lease_ends_and_not_before(scene: Scene) -> None:
    """Another is woken, and goes on with what the first one began."""
    inv, message = await scene.approved()
    given = await scene.claim(message)
    scene.clock.now += LEASE_NS - 1
    assert await reconcile(scene.gate) == 0
    scene.clock.now += 1
    assert await reconcile(scene.gate) == 1
    again = await scene.claim(await scene.message(), "worker-2")
    assert (again.step, again.fence) == ("start", given.fence + 1)
    assert await scene.audited(inv.id) == [
        "invocation.asked",
        "vote.approve",
        "job.claimed",
        "job.lease_lost",
        "job.claimed",
    ]


async def test_a_job_beyond_its_time_is_asked_to_stop_and_then_given_up_as_unknown(scene: Scene) -> None:
    """Never as failed: nobody knows. The target is free again."""
    inv, message = await scene.approved()
    given = await scene.claim(message)
    deadline = (await scene.now(inv)).job_changed().deadline_ns
    assert deadline == scene.clock.now + inv.timeout_s * NS
    while scene.clock.now + LEASE_NS < deadline:
        scene.clock.now += LEASE_NS - 1
        assert await scene.beat(message, given) == (True, False)
    scene.clock.now = deadline + 1
    assert await scene.beat(message, given) == (True, True)
    other = await scene.ask()
    await scene.vote(other)
    waiting = await scene.message()
    assert "holds the lock" in (await scene.claim(waiting, "worker-2")).why
    scene.clock.now = deadline + GRACE_NS + 1
    await reconcile(scene.gate)
    after = await scene.now(inv)
    assert after.state is State.UNKNOWN
    assert after.outcome is not None
    assert "before you ask again" in after.outcome.summary
    assert not await scene.end(message, given)
    assert (await scene.claim(waiting, "worker-2")).verdict == "run"


async def test_a_worker_of_a_job_beyond_its_time_is_told_to_stop_at_the_claim(scene: Scene) -> None:
    """Also when it comes after a long outage of everything."""
    _, message = await scene.approved()
    given = await scene.claim(message)
    assert (await scene.beat(message, given))[0]
    scene.clock.now += 601 * NS
    again = await scene.claim(message, "worker-2")
    assert (again.verdict, again.step) == ("run", "cancel")
    assert again.deadline_s < 0


async def test_what_is_over_stays_over_however_late_it_gets(scene: Scene) -> None:
    """The sweep touches what waits only."""
    done, message = await scene.approved()
    assert await scene.end(message, await scene.claim(message))
    before = await scene.now(done)
    scene.clock.now += 365 * 24 * 60 * MINUTE
    assert await reconcile(scene.gate) == 0
    assert await scene.now(done) == before
