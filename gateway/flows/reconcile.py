"""Finds what fell between two chairs: approvals that ran out, dead leases, lost messages. Bounded work a pass.

Takes away what is long over: one-time codes, and sign-ins of browsers and terminals.
"""

from __future__ import annotations

from gateway.domain import lifecycle
from gateway.domain.errors import Conflict
from gateway.domain.invocation import NS, Invocation
from gateway.domain.ports import Change
from gateway.flows import own
from gateway.flows.gate import WORKER_FRESH_NS, Gate, open_name
from opsgate.contracts.invocations import Outcome, State

BATCH = 100
GRACE_NS = 60 * NS
"""A Job past its deadline is asked to stop; this much later it is given up as unknown."""
CODES_KEPT_NS = 3600 * NS
SESSIONS_KEPT_NS = 30 * 86_400 * NS
FORGOTTEN = 1000
"""Rows of each kind that one pass takes away, at most."""


async def reconcile(gate: Gate) -> int:
    """One pass; how many Invocations were moved."""
    now_ns = gate.clock.now_ns()
    moved = 0
    offers = await gate.store.offers()
    fresh = {name for name, (_, seen) in offers.items() if now_ns - seen < WORKER_FRESH_NS}
    found = await gate.store.overdue(now_ns, BATCH)
    unsent = await gate.store.unsent([inv.id for inv in found]) if found else set()
    for inv in found:
        change = _mend(gate, inv, now_ns, fresh, inv.id in unsent)
        try:
            await gate.store.apply(change)
        except Conflict:
            continue  # it moved by itself
        moved += 1
    if moved:
        gate.on_change()
    await gate.store.forget(now_ns - CODES_KEPT_NS, now_ns - SESSIONS_KEPT_NS, FORGOTTEN)
    return moved


def _mend(gate: Gate, inv: Invocation, now_ns: int, fresh: set[str], unsent: bool) -> Change:
    if inv.state is State.PENDING:
        after = inv.changed(now_ns, state=lifecycle.step(inv.state, State.EXPIRED))
        entry = gate.entry("invocation.expired", after, "gateway", now_ns)
        return Change((entry,), after, inv.version, free=(open_name(inv),))
    if inv.state is State.QUEUED:
        return _queued(gate, inv, now_ns, fresh, unsent)
    return _running(gate, inv, now_ns, unsent)


def _queued(gate: Gate, inv: Invocation, now_ns: int, fresh: set[str], unsent: bool) -> Change:
    """Nobody claimed it: say what it waits for, and wake a worker again (the broker may have lost the message)."""
    start_by_ns = inv.job_changed().start_by_ns
    if start_by_ns and now_ns >= start_by_ns:
        after = inv.changed(now_ns, state=lifecycle.step(inv.state, State.EXPIRED))
        entry = gate.entry(
            "invocation.expired", after, "gateway", now_ns, why="what allowed it ran out before it started"
        )
        return Change((entry,), after, inv.version)
    waits = "" if own.is_own(inv.operation) else "worker" if inv.operation not in fresh else "broker" if unsent else ""
    after = inv.changed(now_ns, job=inv.job_changed(waiting_for=waits))
    entry = gate.entry(_kind(unsent), after, "gateway", now_ns, waiting_for=waits)
    return Change((entry,), after, inv.version, wake_ns=_wake(now_ns, unsent))


def _kind(unsent: bool) -> str:
    return "job.waits" if unsent else "job.woken_again"


def _wake(now_ns: int, unsent: bool) -> int | None:
    """A wake-up that is still to be published is not doubled: an outage of the broker must not end in a flood."""
    return None if unsent else now_ns


def _running(gate: Gate, inv: Invocation, now_ns: int, unsent: bool) -> Change:
    job = inv.job_changed()
    lost = job.lease_until_ns > 0
    if job.deadline_ns and now_ns > job.deadline_ns + GRACE_NS:
        words = (
            f"No worker could say how it ended within {inv.timeout_s} s. Look at {inv.service or 'the target'} "
            "before you ask again"
        )
        after = inv.changed(
            now_ns,
            state=lifecycle.step(inv.state, State.UNKNOWN),
            outcome=Outcome(summary=words),
            job=inv.job_changed(lease_until_ns=0, finished_ns=now_ns),
        )
        entry = gate.entry("job.given_up", after, "gateway", now_ns, worker=job.worker, fence=job.fence)
        return Change((entry,), after, inv.version, free=(inv.lock,))
    after = inv.changed(now_ns, job=inv.job_changed(lease_until_ns=0, due_ns=now_ns))
    kind = "job.lease_lost" if lost else _kind(unsent)
    entry = gate.entry(kind, after, "gateway", now_ns, worker=job.worker, fence=job.fence)
    return Change((entry,), after, inv.version, wake_ns=_wake(now_ns, unsent))
