"""A worker woke up and wants the Job. The ticket is checked, the policy asked once more, the target's lock taken.

The message in the broker gives no right: it only says where to look.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from gateway.domain import lifecycle
from gateway.domain.audit_chain import Entry
from gateway.domain.errors import Conflict, LockHeld, Refused
from gateway.domain.invocation import NS, Invocation
from gateway.domain.ports import Change
from gateway.flows.gate import LEASE_NS, Asked, Gate, summary
from gateway.flows.vote import decided
from opsgate.contracts.decisions import Verdict
from opsgate.contracts.invocations import State
from opsgate.contracts.jobs import ClaimAnswer, ClaimJob
from opsgate.contracts.problems import Code

LOCK_RETRY_NS = 2 * NS


def skip(why: str) -> ClaimAnswer:
    return ClaimAnswer(verdict="skip", why=why)


async def claim(gate: Gate, asked: ClaimJob) -> ClaimAnswer:
    """What the worker shall do with the Job now. Raises Refused for a ticket that is not ours."""
    inv = await gate.store.invocation(asked.job)
    if inv is None or not gate.tickets.check(asked.ticket, asked.job, inv.binding_hash):
        now_ns = gate.clock.now_ns()
        body: dict[str, object] = {"worker": asked.worker, "job": asked.job[:128]}
        await gate.store.apply(Change((Entry("ticket.refused", asked.job[:64], asked.worker, now_ns, dict(body)),)))
        raise Refused(Code.FORBIDDEN, 403, "This ticket was not issued by this gateway for this job. It was recorded.")
    if inv.state in lifecycle.FINAL or inv.state is State.PENDING:
        return skip(f"it is {inv.state.value}")
    now_ns = gate.clock.now_ns()
    job = inv.job_changed()
    if job.lease_until_ns > now_ns:
        return skip("another worker holds it")
    if job.due_ns > now_ns + NS // 10:
        return skip("it is not due yet")
    try:
        if job.started_ns:
            return await _take(gate, inv, asked.worker, now_ns, None)
        return await _start(gate, inv, asked.worker, now_ns)
    except Conflict:
        return skip("another worker was first")
    except LockHeld as held:
        waits = inv.changed(now_ns, job=inv.job_changed(due_ns=now_ns + LOCK_RETRY_NS))
        entry = gate.entry("job.waits", waits, asked.worker, now_ns, lock=inv.lock, held_by=held.holder)
        await _quietly(gate, Change((entry,), waits, inv.version, wake_ns=now_ns + LOCK_RETRY_NS))
        return skip(f"{held.holder} holds the lock {inv.lock}")


async def _start(gate: Gate, inv: Invocation, worker: str, now_ns: int) -> ClaimAnswer:
    """First claim: the policy has the last word, with the votes, roles, freezes and tickets as they are now."""
    start_by_ns = inv.job_changed().start_by_ns
    if start_by_ns and now_ns >= start_by_ns:
        return skip("what allowed it has run out; the reconciler ends it")
    asked = await gate.ask(inv, "execute")
    if asked.no_decision:
        return skip("the policy cannot be asked; it is tried again")
    if asked.decision.effect is not Verdict.ALLOW:
        return await _stopped(gate, inv, asked, now_ns)
    return await _take(gate, inv, worker, now_ns, asked)


async def _stopped(gate: Gate, inv: Invocation, asked: Asked, now_ns: int) -> ClaimAnswer:
    """Something changed since it was allowed: back to waiting, or denied, with the reason in the thread."""
    change = await decided(gate, inv.changed(now_ns), asked, now_ns)
    entry = gate.entry("job.refused", change.invocation or inv, "policy", now_ns, **summary(asked.decision))
    await gate.store.apply(replace(change, entries=(entry,), expected=inv.version))
    gate.on_change()
    return skip(f"the policy says {asked.decision.effect.value}")


async def _take(gate: Gate, inv: Invocation, worker: str, now_ns: int, asked: Asked | None) -> ClaimAnswer:
    job = inv.job_changed()
    first = job.started_ns == 0
    deadline_ns = job.deadline_ns or now_ns + inv.timeout_s * NS
    fence = job.fence + 1
    cancelled = bool(job.cancel_requested_by) or now_ns > deadline_ns
    taken = inv.changed(
        now_ns,
        state=lifecycle.step(inv.state, State.RUNNING),
        decision=asked.decision if asked else inv.decision,
        job=inv.job_changed(
            fence=fence,
            worker=worker,
            lease_until_ns=now_ns + LEASE_NS,
            started_ns=job.started_ns or now_ns,
            deadline_ns=deadline_ns,
            waiting_for="",
        ),
    )
    body = summary(asked.decision) if asked else {}
    entry = gate.entry("job.claimed", taken, worker, now_ns, fence=fence, **body)
    decisions = (asked.record,) if asked else ()
    take = (inv.lock,) if first and inv.lock else ()
    await gate.store.apply(Change((entry,), taken, inv.version, decisions, take=take))
    gate.on_change()
    # Stopped without a handle: it may have been started all the same, so the worker probes before it says so.
    step = "cancel" if cancelled and not first else "follow" if job.handle is not None else "start"
    return ClaimAnswer(
        verdict="run",
        why="",
        step=step,
        fence=fence,
        lease_s=LEASE_NS // NS,
        deadline_s=(deadline_ns - now_ns) / NS,
        correlation_id=inv.id,
        binding_hash=inv.binding_hash,
        operation=inv.operation,
        input=inv.input,
        handle=job.handle,
        traceparent=inv.traceparent,
    )


async def _quietly(gate: Gate, change: Change) -> None:
    with suppress(Conflict):  # somebody else moved it on; the reconciler sees to it
        await gate.store.apply(change)
