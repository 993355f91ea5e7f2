"""Somebody hands their approvals to another for a while. The taker votes in their place, and both names are kept.

Refuses chains (what was handed to one is not handed on), service accounts, and more than thirty days.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from gateway.domain.audit_chain import Entry
from gateway.domain.directory import Asker
from gateway.domain.errors import Conflict, Refused, not_found
from gateway.domain.ids import new_id
from gateway.domain.invocation import NS, when
from gateway.domain.people import Delegation, EndDelegation
from gateway.domain.ports import Change, Once
from gateway.flows.explain import SECURITY
from gateway.flows.gate import Gate
from gateway.flows.in_person import refuse_others
from gateway.flows.sessions import plain
from opsgate.contracts import people as contract
from opsgate.contracts.base import PrincipalKind
from opsgate.contracts.problems import Code

LONGEST_S = 30 * 86_400
MOST = 20
"""Delegations of one person that are in force at a time."""
LISTED = 200
OnceOf = Callable[[contract.Delegation], Once | None]


async def make(gate: Gate, to: str, until: datetime, reason: str, who: Asker, once: OnceOf) -> contract.Delegation:
    """In force at once. Raises Refused (403, 404, 409, 422)."""
    refuse_others(who, "hand approvals on")
    now_ns, until_ns = gate.clock.now_ns(), round(until.timestamp() * 1_000_000) * 1_000
    if to == who.id:
        raise Refused(Code.BAD_INPUT, 422, "You hold your own approvals already. Name somebody else.")
    taker = gate.folk.person(to)
    if taker is None or taker.kind is not PrincipalKind.HUMAN:
        raise Refused(Code.BAD_INPUT, 422, f"`{to[:63]}` is no active person here. Approvals go to people only.")
    if not now_ns < until_ns <= now_ns + LONGEST_S * NS:
        raise Refused(Code.BAD_INPUT, 422, "`until` must be a time within the next 30 days.")
    if len(plain(reason)) < 3:
        raise Refused(Code.BAD_INPUT, 422, "Say why, in a few words; others see it.")
    in_force = [d for d in await gate.store.delegations(who.id, LISTED) if d.giver == who.id and d.holds(now_ns)]
    if len(in_force) >= MOST:
        raise Refused(Code.NOT_POSSIBLE_NOW, 409, f"You handed your approvals on {MOST} times. End one first.")
    made = Delegation(new_id("dlg"), who.id, taker.id, reason.strip(), now_ns, until_ns)
    view = shown(made)
    body = {"delegation": made.id, "to": taker.id, "until": view.until.isoformat(), "reason": made.reason}
    entry = Entry("delegation.made", "", who.id, now_ns, body)
    await gate.store.apply(Change((entry,), people=(made,), once=once(view)))
    await gate.folk.refresh()
    return view


async def delegations(gate: Gate, who: Asker) -> list[contract.Delegation]:
    """Given or taken by this person, newest first, ended ones too."""
    return [shown(d) for d in await gate.store.delegations(who.id, LISTED)]


async def end(gate: Gate, delegation_id: str, who: Asker, once: Once | None = None) -> None:
    """By who gave it, who took it, or security. Raises Refused (403, 404, 409)."""
    refuse_others(who, "end a delegation")
    known = (*await gate.store.delegations(who.id, LISTED), *(await gate.store.people()).delegations)
    found = next((d for d in known if d.id == delegation_id), None)
    if found is None or (who.id not in (found.giver, found.taker) and SECURITY not in who.principal.groups):
        raise not_found(f"delegation `{delegation_id[:40]}`")
    now_ns = gate.clock.now_ns()
    body = {"delegation": found.id, "giver": found.giver, "taker": found.taker}
    entry = Entry("delegation.ended", "", who.id, now_ns, body)
    try:
        await gate.store.apply(Change((entry,), people=(EndDelegation(found.id, now_ns),), once=once))
    except Conflict:
        raise Refused(Code.NOT_POSSIBLE_NOW, 409, f"{found.id} has ended already.") from None
    await gate.folk.refresh()


def shown(held: Delegation) -> contract.Delegation:
    return contract.Delegation(
        id=held.id,
        giver=held.giver,
        taker=held.taker,
        reason=held.reason,
        **{"from": when(held.from_ns)},
        until=when(held.until_ns),
        ended_at=when(held.ended_ns) if held.ended_ns else None,
    )
