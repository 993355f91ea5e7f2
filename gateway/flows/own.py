"""The gateway's own operations: freezing changes and lifting a freeze. No worker is asked, so they work when none runs.

They go the way of every other Command (policy, approvals, audit); only the carrying out is here.
"""

from __future__ import annotations

from dataclasses import replace

from gateway.domain import lifecycle
from gateway.domain.errors import Conflict
from gateway.domain.invocation import NS, Invocation
from gateway.domain.ports import Change
from gateway.domain.words import duration
from gateway.flows.gate import Gate, summary
from opsgate.contracts.invocations import Outcome, State
from opsgate.contracts.policy import Freeze

FREEZE, UNFREEZE = "gateway.freeze", "gateway.unfreeze"


def is_own(operation: str) -> bool:
    return operation in (FREEZE, UNFREEZE)


async def carry_out(gate: Gate, inv: Invocation) -> Invocation:
    """Re-asks the policy, then writes the effect and the outcome in one transaction. The Invocation as it is then."""
    if inv.state is not State.QUEUED:
        return inv
    asked = await gate.ask(inv, "execute")
    now_ns = gate.clock.now_ns()
    if asked.no_decision:
        return inv  # the reconciler wakes it again
    if asked.decision.effect.value != "allow":
        ended = inv.changed(now_ns, state=lifecycle.step(inv.state, State.DENIED), decision=asked.decision)
        entry = gate.entry("job.refused", ended, "policy", now_ns, **summary(asked.decision))
        change = Change((entry,), ended, inv.version, (asked.record,))
    else:
        change = _effect(gate, inv, now_ns)
        change = replace(change, decisions=(asked.record,))
    try:
        await gate.store.apply(change)
    except Conflict:
        return await gate.store.invocation(inv.id) or inv  # another did it
    gate.on_change()
    return change.invocation or inv


def _effect(gate: Gate, inv: Invocation, now_ns: int) -> Change:
    scope = "/".join(part for part in (inv.environment, inv.service) if part) or "*"
    if inv.operation == FREEZE:
        seconds = int(inv.input.get("seconds") or 0)
        until = now_ns + seconds * NS if seconds else 0
        lasts = f"for {duration(seconds)}" if seconds else "until somebody lifts it"
        words = f"Changes to {scope} are frozen {lasts}: {inv.reason or 'no reason given'}. Reading still works"
        freeze = Freeze(scope=scope, reason=inv.reason, by=inv.asked_by_name, from_ns=now_ns, until_ns=until)
        lift = None
    else:
        words, freeze, lift = f"The freeze of {scope} is lifted", None, scope
    job = inv.job_changed(started_ns=now_ns, finished_ns=now_ns, worker="gateway")
    done = inv.changed(
        now_ns,
        state=lifecycle.step(inv.state, State.SUCCEEDED),
        job=job,
        outcome=Outcome(summary=words, facts={"scope": scope}),
    )
    entry = gate.entry(f"{inv.operation.removeprefix('gateway.')}.done", done, inv.asked_by, now_ns, scope=scope)
    return Change((entry,), done, inv.version, freeze=freeze, lift=lift)
