"""A denial that helps on: what would have passed instead, and who could do it. Asks the policy once, bounded in time.

Refuses to delay or change the denial itself: when this fails, the denial stands without a hint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace

from gateway.domain.arguments import Asked, Options
from gateway.domain.directory import GATEWAY, Asker, Directory, Principal
from gateway.domain.errors import GateError
from gateway.domain.invocation import Invocation
from gateway.domain.variants import MOST, best, variants
from gateway.domain.words import Could, hint_of
from gateway.flows.drafting import draft
from gateway.flows.gate import Gate
from opsgate.contracts.base import PrincipalKind
from opsgate.contracts.decisions import Decision, NextAction, Verdict

SECURITY = "security"
"""The group of those who keep the policies."""
LIMIT_S = 1.0
"""Seconds a denial waits for its hint."""
WHOEVER = 3
"""Groups that are tried as those who could do it."""
SHOWN = 2
"""Lines that would pass, at most: the best with one change or two."""
A_REASON, AN_INCIDENT = "what somebody on call would say", "INC-0"
AN_HOUR_NS = 3_600 * 10**9


@dataclass(frozen=True)
class Hint:
    """`text`: sentences for people, "" when there is nothing to say. `lines`: what would pass, ready to be typed."""

    text: str = ""
    lines: tuple[str, ...] = ()


async def taught(gate: Gate, inv: Invocation, decision: Decision) -> Invocation:
    """The Invocation with its hint, when it is denied and there is one."""
    found = await hint(gate, inv, decision)
    return inv.model_copy(update={"hint": found.text, "would_pass": found.lines}) if found.text else inv


async def hint(gate: Gate, inv: Invocation, decision: Decision) -> Hint:
    """What helps on after this denial, found with one question to the policy. Never raises."""
    gave_none = decision.next_action is NextAction.RETRY  # there is no policy to ask
    if decision.effect is not Verdict.DENY or gave_none or inv.asked_by == GATEWAY:
        return Hint()
    try:
        async with asyncio.timeout(LIMIT_S):
            return await _found(gate, inv, decision)
    except (GateError, TimeoutError):
        return Hint()


async def _found(gate: Gate, inv: Invocation, decision: Decision) -> Hint:
    command, person = gate.catalog().find(inv.command), gate.folk.person(inv.asked_by)
    if command is None or person is None:
        return Hint()
    asked = Asked(command, inv.args, Options(inv.reason, inv.ticket, inv.incident))
    others = tuple(_others(gate, inv, person))
    glass = tuple(_glass(asked, inv, person))
    tried = variants(asked, decision.reasons, gate.directory, MOST - len(others) - len(glass))

    questions = [(v.asked, person) for v in tried] + [(asked, p) for _, p in others] + [(a, person) for a in glass]
    drafts = [draft(gate, a, _asker(inv, p), inv.context, "") for a, p in questions]
    answers = iter(await gate.ask_all(drafts))

    passing = best([(v, next(answers)) for v in tried])[:SHOWN]
    could = [Could(group, d) for group, d in [(g, next(answers)) for g, _ in others] if d.effect is not Verdict.DENY]
    breaks = any(d.effect is not Verdict.DENY for d in answers)
    ticket = any(r.code == "ticket_needed" for r in decision.reasons)
    shown = [(v.asked.text, d) for v, d in passing]
    return Hint(hint_of(shown, next(iter(could), None), ticket, breaks), tuple(line for line, _ in shown))


def _asker(inv: Invocation, person: Principal) -> Asker:
    """As the Invocation was asked, by this person. What only the asker's own token says goes with the asker only."""
    mine = person.id == inv.asked_by
    return Asker(
        principal=person,
        assurance=inv.assurance,
        method=inv.method,
        platform=inv.platform,
        adapter=inv.adapter,
        actors=inv.actors if mine else (),
        scopes=inv.scopes if mine else (),
        mfa_at_ns=inv.mfa_at_ns if mine else 0,
    )


def _glass(asked: Asked, inv: Invocation, person: Principal) -> Iterator[Asked]:
    """The same with broken glass, for whoever is on call: only to know whether to speak of it; never shown."""
    if inv.service and not inv.incident and f"oncall:{inv.service}" in person.groups:
        yield replace(asked, options=replace(asked.options, reason=A_REASON, break_glass=AN_INCIDENT))


def _others(gate: Gate, inv: Invocation, person: Principal) -> Iterator[tuple[str, Principal]]:
    """Groups the asker is not in, each with somebody of it, to ask the policy whether that group could."""
    entry = gate.directory.service(inv.service)
    groups = dict.fromkeys((*((entry.team, *entry.owners) if entry else ()), SECURITY))
    known = _examples(gate, gate.directory)
    for group in [g for g in groups if g and g not in person.groups][:WHOEVER]:
        other = gate.folk.person(known.get(group, ""))
        if other is not None:
            yield group, other


def _examples(gate: Gate, directory: Directory) -> dict[str, str]:
    """Of each group the person in the fewest others, so that what they may do comes from that group if from any."""
    now_ns = gate.clock.now_ns()
    found: dict[str, str] | None = gate.kept.get("examples", (directory.people,), now_ns)
    if found is None:
        found = {}
        humans = [p for p in directory.people if p.active and p.kind is PrincipalKind.HUMAN]
        for person in sorted(humans, key=lambda p: len(p.groups)):
            for group in person.groups:
                found.setdefault(group, person.id)
        gate.kept.put("examples", (directory.people,), now_ns + AN_HOUR_NS, found)
    return found
