"""Somebody stops what they asked for, or may stop. Before the claim it ends at once; after it the worker is asked.

What really happened is recorded by the report: a success that arrived first stays a success.
"""

from __future__ import annotations

from gateway.domain import lifecycle
from gateway.domain.directory import Asker
from gateway.domain.errors import Conflict, Refused, not_found
from gateway.domain.invocation import Invocation
from gateway.domain.ports import Change
from gateway.domain.words import card, title_of, view
from gateway.flows.gate import Gate, open_name
from gateway.flows.vote import RETRIES, AnswerOnce, refuse
from gateway.flows.voters import groups_of, one_with_asker
from opsgate.contracts.invocations import Answer, State
from opsgate.contracts.problems import Code


async def cancel(gate: Gate, invocation_id: str, reason: str, who: Asker, once: AnswerOnce) -> Answer:
    """The Invocation after the request to stop, or a refusal in plain words."""
    for _ in range(RETRIES):
        inv = await gate.store.invocation(invocation_id)
        if inv is None or (inv.private and inv.asked_by != who.id):
            raise not_found(f"invocation `{invocation_id[:40]}`")
        words = _why_not(gate, inv, who)
        if words:
            return await refuse(gate, inv, who, "cancel.refused", words, once)
        try:
            return await _stop(gate, inv, reason, who, once)
        except Conflict:
            continue
    raise Refused(Code.NOT_POSSIBLE_NOW, 409, "It changes too fast to be cancelled. Look at the card and try again.")


def _why_not(gate: Gate, inv: Invocation, who: Asker) -> str:
    if inv.state in lifecycle.FINAL:
        return f"There is nothing to stop any more: {title_of(inv)}."
    if inv.job and inv.job.cancel_requested_by:
        return f"{inv.job.cancel_requested_by} asked to stop it already. It stops as soon as the worker can."
    if who.scopes and inv.effect.value not in who.scopes:
        return f"This token is limited to {', '.join(who.scopes)}, so it cannot stop a command of effect {inv.effect}."
    entry = gate.directory.service(inv.service)
    allowed = {*(entry.owners if entry else ()), *(g for s in inv.decision.requirements for g in s.requirement.groups)}
    voted = any(v.by == who.id and v.verdict == "approve" for v in inv.votes)
    if who.id not in one_with_asker(gate, inv) and not voted and not allowed & groups_of(gate, who.id):
        return f"Only {inv.asked_by_name} or {' or '.join(sorted(allowed)) or 'an owner'} can stop this."
    return ""


async def _stop(gate: Gate, inv: Invocation, reason: str, who: Asker, once: AnswerOnce) -> Answer:
    now_ns = gate.clock.now_ns()
    name = who.principal.name
    started = inv.job is not None and inv.job.started_ns > 0
    if started:
        job = inv.job_changed(cancel_requested_by=name, due_ns=now_ns)
        after = inv.changed(now_ns, job=job)
        kind = "cancel.asked"
    else:
        after = inv.changed(now_ns, state=lifecycle.step(inv.state, State.CANCELLED), ended_by=name)
        kind = "cancel.done"
    answer = Answer(kind="invocation", private=False, card=card(after), invocation=view(after))
    entry = gate.entry(kind, after, who.id, now_ns, reason=reason, platform=who.platform)
    wake_ns = now_ns if started else None
    free = () if started else (inv.lock, open_name(inv))
    await gate.store.apply(Change((entry,), after, inv.version, wake_ns=wake_ns, once=once(answer), free=free))
    gate.on_change()
    return answer
