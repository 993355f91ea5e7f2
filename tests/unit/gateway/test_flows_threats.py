"""Between the yes and the run: what changes, is forged, doubled or late starts nothing that was not allowed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.domain.errors import Refused
from gateway.domain.invocation import Invocation
from gateway.domain.ports import Change
from gateway.flows.gate import LEASE_NS
from gateway.flows.reconcile import reconcile
from gateway.flows.relay import HOLD_NS, relay
from gateway.infra.jwt import KeyRing
from opsgate.contracts.invocations import State
from opsgate.contracts.jobs import WakeUp
from opsgate.contracts.problems import Code
from tests.unit.gateway.scene import OWNERS, SECURITY, Scene, denies, empty_store, needs, scene_in


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return empty_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
async def scene(empty: Path, tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene_in(tmp_path, empty) as made:
        yield made


async def test_what_is_approved_runs_once_and_ends(scene: Scene) -> None:
    """The way that all others on this page leave; the policy is asked three times."""
    inv, message = await scene.approved()
    given = await scene.claim(message)
    assert (given.verdict, given.step, given.fence, given.operation) == ("run", "start", 1, "sandbox.deploy")
    assert given.binding_hash == inv.binding_hash
    assert await scene.end(message, given)
    assert (await scene.now(inv)).state is State.SUCCEEDED
    assert scene.policy.phases == ["request", "approve", "execute"]
    assert await scene.audited(inv.id) == ["invocation.asked", "vote.approve", "job.claimed", "job.ended"]


# ---- t13: the policy changes between the yes and the run -----------------------------------------------------------


async def test_t13_a_policy_that_says_no_by_now_is_a_denial_at_the_claim(scene: Scene) -> None:
    """With the new reason, for everybody to see; and it stays one when the rule is lifted again."""
    inv, message = await scene.approved()
    scene.policy.rule = denies
    assert (await scene.claim(message)).why == "the policy says deny"
    after = await scene.now(inv)
    assert (after.state, [r.code for r in after.decision.reasons]) == (State.DENIED, ["frozen"])
    assert not after.private
    assert (await scene.audited(inv.id))[-1] == "job.refused"
    scene.policy.rule = needs(OWNERS)
    assert (await scene.claim(message)).verdict == "skip"
    assert (await scene.now(inv)).state is State.DENIED


async def test_t13_a_policy_that_asks_for_more_by_now_voids_the_votes_and_waits(scene: Scene) -> None:
    """The old yes was given under another requirement, so it does not even count as half of the new one."""
    inv, message = await scene.approved()
    scene.policy.rule = needs(OWNERS, SECURITY)
    assert (await scene.claim(message)).verdict == "skip"
    after = await scene.now(inv)
    assert (after.state, after.votes, after.job) == (State.PENDING, (), None)
    assert (await scene.claim(message)).why == "it is pending"
    await scene.vote(inv, "carol")
    assert (await scene.now(inv)).state is State.PENDING
    await scene.vote(inv, "bob")
    assert (await scene.claim(await scene.message())).verdict == "run"


async def test_t13_without_an_answer_of_the_policy_nothing_starts_and_nothing_is_lost(scene: Scene) -> None:
    """It is tried again when the engine is back."""
    inv, message = await scene.approved()
    scene.policy.rule = None
    assert (await scene.claim(message)).verdict == "skip"
    assert (await scene.now(inv)).state is State.QUEUED
    scene.policy.rule = needs(OWNERS)
    assert (await scene.claim(message)).verdict == "run"


# ---- t14: who said yes loses the role ------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [OWNERS, None], ids=["loses the role", "leaves"])
async def test_t14_the_yes_of_somebody_who_has_no_say_by_now_does_not_count(scene: Scene, role: str | None) -> None:
    """Roles are read again at the claim: it waits for another, and does not run on the old message."""
    inv, message = await scene.approved()
    scene.without("bob", role)
    assert (await scene.claim(message)).why == "the policy says pending"
    after = await scene.now(inv)
    assert (after.state, after.decision.requirements[0].have) == (State.PENDING, 0)
    assert (await scene.claim(message)).why == "it is pending"


async def test_t14_who_asked_and_left_runs_nothing(scene: Scene) -> None:
    """Nobody is there to answer for it."""
    inv, message = await scene.approved()
    scene.without("alice")
    assert (await scene.claim(message)).verdict == "skip"
    after = await scene.now(inv)
    assert after.state is State.DENIED
    assert [r.code for r in after.decision.reasons] == ["asker_gone"]
    assert (await scene.audited(inv.id))[-1] == "job.refused"


# ---- t15: a yes is for one run -------------------------------------------------------------------------------------


async def test_t15_a_used_approval_starts_nothing_again(scene: Scene) -> None:
    """The same message after the end, with its good ticket: nothing, whatever worker brings it."""
    inv, message = await scene.approved()
    assert await scene.end(message, await scene.claim(message))
    for worker in ("worker-1", "worker-2"):
        assert (await scene.claim(message, worker)).why == "it is succeeded"
    assert (await scene.audited(inv.id)).count("job.claimed") == 1


async def test_t15_asking_the_same_again_needs_a_new_yes(scene: Scene) -> None:
    """The hash is the same, for the same was asked; neither the vote nor the ticket of the first is worth anything."""
    first, message = await scene.approved()
    assert await scene.end(message, await scene.claim(message))
    again = await scene.ask()
    assert (again.binding_hash, again.state, again.votes) == (first.binding_hash, State.PENDING, ())
    with pytest.raises(Refused):
        await scene.claim(message, job=again.id)
    assert (await scene.now(again)).state is State.PENDING


# ---- t35: somebody writes into the broker --------------------------------------------------------------------------

FORGED: dict[str, Callable[[Scene, WakeUp], str]] = {
    "no ticket": lambda scene, message: "",
    "rubbish": lambda scene, message: "e30.e30.e30",
    "cut off": lambda scene, message: message.ticket[:-4],
    "another key": lambda scene, message: KeyRing(ec.generate_private_key(ec.SECP256R1()), "gateway-1").issue(
        message.job, "sha256:" + "a" * 64, scene.clock.now
    ),
    "another job": lambda scene, message: scene.keys.issue("inv_0000000000", "sha256:" + "a" * 64, scene.clock.now),
    "another hash": lambda scene, message: scene.keys.issue(message.job, "sha256:" + "a" * 64, scene.clock.now),
    "a persona's token": lambda scene, message: scene.keys.persona_token("alice")[0],
    "of long ago": lambda scene, message: scene.keys.issue(message.job, message.ticket, 0),
}


@pytest.mark.parametrize("name", FORGED)
async def test_t35_a_hand_made_message_is_refused_and_recorded(scene: Scene, name: str) -> None:
    """The Job stays as it was, and still runs for the real message."""
    inv, message = await scene.approved()
    before = await scene.now(inv)
    with pytest.raises(Refused) as no:
        await scene.claim(message, "worker-9", ticket=FORGED[name](scene, message))
    assert (no.value.status, no.value.code) == (403, Code.FORBIDDEN)
    assert await scene.now(inv) == before
    (record,) = [r for r in await scene.store.audit(None, ("", 0), 100) if r.kind == "ticket.refused"]
    assert (record.actor, record.invocation_id) == ("worker-9", inv.id)
    assert (await scene.claim(message)).verdict == "run"


async def test_t35_a_message_for_a_job_that_is_not_there_is_answered_like_a_forged_one(scene: Scene) -> None:
    """Whoever tries learns nothing from it."""
    inv, message = await scene.approved()
    told = set()
    for job in (inv.id, "inv_0000000000"):
        with pytest.raises(Refused) as no:
            await scene.claim(message, job=job, ticket="e30.e30.e30")
        told.add((no.value.status, no.value.detail))
    assert len(told) == 1


async def test_t35_even_a_real_ticket_is_no_right_to_run(scene: Scene) -> None:
    """For what waits, was denied or is over, it opens nothing: the store says what may run, not the message."""
    waiting = await scene.ask()
    real = WakeUp(job=waiting.id, ticket=scene.keys.issue(waiting.id, waiting.binding_hash, scene.clock.now))
    assert (await scene.claim(real)).why == "it is pending"
    await scene.vote(waiting, "bob", "reject")
    scene.policy.rule = denies
    denied = await scene.ask()
    real = WakeUp(job=denied.id, ticket=scene.keys.issue(denied.id, denied.binding_hash, scene.clock.now))
    assert (await scene.claim(real)).why == "it is denied"


async def test_the_message_holds_an_id_and_a_ticket_and_nothing_to_run(scene: Scene) -> None:
    """Whoever reads the broker learns neither the arguments nor a secret."""
    _, message = await scene.approved()
    assert set(message.model_dump()) == {"job", "ticket", "traceparent"}
    assert "1.4.2" not in message.model_dump_json()


# ---- t37: the same message twice -----------------------------------------------------------------------------------


async def test_t37_a_message_delivered_ten_times_at_once_starts_one_run(scene: Scene) -> None:
    """The claim is the one place where it is decided; everybody else skips."""
    inv, message = await scene.approved()
    answers = await asyncio.gather(*(scene.claim(message, f"worker-{n}") for n in range(10)))
    runs = [a for a in answers if a.verdict == "run"]
    assert len(runs) == 1
    assert {a.why for a in answers if a.verdict == "skip"} <= {"another worker holds it", "another worker was first"}
    assert (await scene.audited(inv.id)).count("job.claimed") == 1
    assert (await scene.now(inv)).job_changed().fence == 1


async def test_t37_a_relay_that_died_after_it_published_publishes_again_and_it_runs_once(scene: Scene) -> None:
    """Two messages, one run."""
    inv, first = await scene.approved()
    await scene.store.apply(_wake_again(await scene.now(inv), scene))
    second = await scene.message()
    assert len(scene.broker.messages) == 2
    given = await scene.claim(second)
    assert (given.verdict, (await scene.claim(first)).verdict) == ("run", "skip")
    assert await scene.end(second, given)
    assert (await scene.claim(first)).why == "it is succeeded"


async def test_t37_two_relays_do_not_publish_the_same_row(scene: Scene) -> None:
    """A row is taken for a while; what a dead relay took comes up again."""
    inv = await scene.ask()
    await scene.vote(inv)
    taken = await asyncio.gather(*(scene.store.due(scene.clock.now, HOLD_NS, 10) for _ in range(4)))
    assert sorted(map(len, taken)) == [0, 0, 0, 1]
    assert await relay(scene.gate) == 0
    scene.clock.now += HOLD_NS
    assert await relay(scene.gate) == 1
    assert await relay(scene.gate) == 0


def _wake_again(inv: Invocation, scene: Scene) -> Change:
    return Change((), inv.changed(scene.clock.now), inv.version, wake_ns=scene.clock.now)


# ---- t38: the late worker ------------------------------------------------------------------------------------------


async def test_t38_a_worker_that_comes_back_after_its_lease_changes_nothing(scene: Scene) -> None:
    """Another holds the Job with a higher fence: neither the zombie's lines, handle nor end are taken."""
    inv, message = await scene.approved()
    zombie = await scene.claim(message, "worker-1")
    scene.clock.now += LEASE_NS + 1
    await reconcile(scene.gate)
    second = await scene.claim(await scene.message(), "worker-2")
    assert (zombie.fence, second.fence) == (1, 2)
    before = await scene.now(inv)
    assert await scene.beat(message, zombie, "worker-1", "I am late") == (False, False)
    assert not await scene.end(message, zombie, "worker-1")
    assert not await scene.end(message, zombie, "worker-2"), "nor under the other's name"
    assert await scene.now(inv) == before
    assert await scene.store.lines(inv.id, 0, 10) == []
    assert await scene.end(message, second, "worker-2")
    assert not await scene.end(message, second, "worker-2"), "an end is reported once"


async def test_t38_a_lost_lease_ends_the_say_of_its_worker_before_another_takes_it(scene: Scene) -> None:
    """Between two holders nobody speaks for the Job."""
    inv, message = await scene.approved()
    zombie = await scene.claim(message)
    scene.clock.now += LEASE_NS + 1
    await reconcile(scene.gate)
    assert not await scene.end(message, zombie)
    assert (await scene.now(inv)).state is State.RUNNING
    assert "job.lease_lost" in await scene.audited(inv.id)


async def test_t38_a_living_worker_keeps_its_lease_as_long_as_it_beats(scene: Scene) -> None:
    """Nobody else gets the Job meanwhile, and the reconciler leaves it alone."""
    inv, message = await scene.approved()
    given = await scene.claim(message)
    for _ in range(5):
        scene.clock.now += LEASE_NS - 1
        assert await scene.beat(message, given) == (True, False)
        assert await reconcile(scene.gate) == 0
        assert (await scene.claim(message, "worker-2")).why == "another worker holds it"
    assert await scene.end(message, given)
    assert (await scene.now(inv)).job_changed().fence == 1
