"""A worker says how it goes, and how it ended. Every word is guarded by the fence: a late worker changes nothing."""

from __future__ import annotations

from typing import Any

from gateway.domain import lifecycle
from gateway.domain.errors import Conflict
from gateway.domain.invocation import NS, Invocation
from gateway.domain.ports import Change
from gateway.flows.gate import LEASE_NS, Gate
from gateway.flows.vote import RETRIES
from opsgate.contracts.invocations import Outcome, State
from opsgate.contracts.jobs import JobProgress, JobReport, ProgressAnswer, ReportAnswer
from opsgate.contracts.messages import Progress

MAX_LINES = 5_000
"""Log lines kept of one Invocation; what comes after is counted, not kept."""
MAX_LINE = 2_000
MIN_AGAIN_S = 0.2
_RESULTS = {
    "succeeded": State.SUCCEEDED,
    "failed": State.FAILED,
    "cancelled": State.CANCELLED,
    "unknown": State.UNKNOWN,
}


async def _held(gate: Gate, job: str, worker: str, fence: int) -> Invocation | None:
    """The Invocation, if this worker with this fence still holds it."""
    inv = await gate.store.invocation(job)
    if inv is None or inv.state is not State.RUNNING or inv.job is None:
        return None
    return inv if inv.job.fence == fence and inv.job.worker == worker and inv.job.lease_until_ns else None


async def progress(gate: Gate, job: str, said: JobProgress) -> ProgressAnswer:
    """Renews the lease; keeps the handle, the progress and the lines."""
    for _ in range(RETRIES):
        inv = await _held(gate, job, said.worker, said.fence)
        if inv is None:
            return ProgressAnswer(held=False, cancel=False)
        now_ns = gate.clock.now_ns()
        fields: dict[str, Any] = {"lease_until_ns": now_ns + LEASE_NS}
        if said.text or said.percent is not None:
            fields["progress"] = Progress(percent=said.percent, text=said.text)
        if said.handle is not None:
            fields["handle"] = said.handle
        kept = keep_lines(inv, said.lines)
        after = inv.changed(now_ns, job=inv.job_changed(**fields), log_lines=inv.log_lines + len(kept))
        started = said.handle is not None and inv.job is not None and inv.job.handle is None
        entries = (gate.entry("job.started", after, said.worker, now_ns, fence=said.fence),) if started else ()
        try:
            await gate.store.apply(Change(entries, after, inv.version, lines=kept))
        except Conflict:
            continue
        gate.on_change()
        job_now = after.job_changed()
        return ProgressAnswer(held=True, cancel=bool(job_now.cancel_requested_by) or now_ns > job_now.deadline_ns)
    return ProgressAnswer(held=False, cancel=False)


def keep_lines(inv: Invocation, lines: tuple[str, ...]) -> tuple[str, ...]:
    """Capped in number and length; control characters made visible."""
    room = max(0, MAX_LINES - inv.log_lines)
    clean = ["".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in line[:MAX_LINE]) for line in lines[:room]]
    if len(lines) > room > 0:
        clean[-1] = f"(more than {MAX_LINES} lines; the rest is not kept)"
    return tuple(clean)


async def report(gate: Gate, job: str, said: JobReport) -> ReportAnswer:
    """Ends this claim: schedules the next look, or the outcome."""
    for _ in range(RETRIES):
        inv = await _held(gate, job, said.worker, said.fence)
        if inv is None:
            return ReportAnswer(accepted=False)
        change = _again(gate, inv, said) if said.result == "running" else _end(gate, inv, said)
        try:
            await gate.store.apply(change)
        except Conflict:
            continue
        gate.on_change()
        return ReportAnswer(accepted=True)
    return ReportAnswer(accepted=False)


def _again(gate: Gate, inv: Invocation, said: JobReport) -> Change:
    now_ns = gate.clock.now_ns()
    job = inv.job_changed()
    # Being stopped, it is looked at soon, but never in a tight loop.
    after_s = min(said.again_after_s, 1.0) if job.cancel_requested_by else said.again_after_s
    due_ns = now_ns + int(max(after_s, MIN_AGAIN_S) * NS)
    kept = keep_lines(inv, said.lines)
    after = inv.changed(
        now_ns,
        log_lines=inv.log_lines + len(kept),
        job=inv.job_changed(
            lease_until_ns=0,
            due_ns=due_ns,
            handle=said.handle if said.handle is not None else job.handle,
            progress=Progress(percent=said.percent, text=said.summary) if said.summary else job.progress,
        ),
    )
    return Change((), after, inv.version, wake_ns=due_ns, lines=kept)


def _end(gate: Gate, inv: Invocation, said: JobReport) -> Change:
    now_ns = gate.clock.now_ns()
    kept = keep_lines(inv, said.lines)
    job = inv.job_changed()
    ended = inv.changed(
        now_ns,
        state=lifecycle.step(inv.state, _RESULTS[said.result]),
        log_lines=inv.log_lines + len(kept),
        job=inv.job_changed(lease_until_ns=0, finished_ns=now_ns, progress=None, handle=said.handle or job.handle),
        outcome=Outcome(summary=said.summary, facts=said.facts),
        ended_by=job.cancel_requested_by if said.result == "cancelled" else "",
    )
    entry = gate.entry(
        "job.ended", ended, said.worker, now_ns, fence=said.fence, result=said.result, summary=said.summary
    )
    return Change((entry,), ended, inv.version, lines=kept, free=(inv.lock,))
