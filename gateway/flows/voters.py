"""Who may vote on what, for whom, and how well they must be known. Words for those who may not; the policy decides."""

from __future__ import annotations

from gateway.domain.directory import Asker
from gateway.domain.invocation import Invocation
from gateway.domain.words import clock, title_of
from gateway.flows.gate import Gate
from opsgate.contracts.base import Assurance, PrincipalKind
from opsgate.contracts.decisions import Requirement
from opsgate.contracts.invocations import State

_ORDER = list(Assurance)
NEVER = "An API token cannot vote, whoever holds it. Sign in and vote as yourself."


def one_with_asker(gate: Gate, inv: Invocation) -> frozenset[str]:
    """The asker, the owner of an asking service account, and everybody who acts for them.

    An actor may have been a mere subject when it was asked, and a person who signed in since.
    """
    asker = gate.folk.person(inv.asked_by)
    later = (gate.directory.by_subject(actor) for actor in inv.actors)
    return frozenset({inv.asked_by, asker.owner if asker else "", *inv.actors, *(p.id for p in later if p)} - {""})


def groups_of(gate: Gate, person_id: str) -> frozenset[str]:
    person = gate.folk.person(person_id)
    return frozenset(person.groups if person else ())


def wanted(inv: Invocation) -> frozenset[str]:
    """The groups that are asked to agree."""
    return frozenset(g for s in inv.decision.requirements for g in s.requirement.groups)


def voting_for(gate: Gate, inv: Invocation, named: str | None, who: Asker) -> str:
    """In whose place this vote is cast: whom the voter named, or who delegated to them if their own would not count."""
    if named:
        return named
    if wanted(inv) & groups_of(gate, who.id):
        return ""
    apart = one_with_asker(gate, inv)
    givers = gate.directory.givers(who.id, gate.clock.now_ns())
    return next((g for g in givers if g not in apart and wanted(inv) & groups_of(gate, g)), "")


def why_not(gate: Gate, inv: Invocation, verdict: str, saw: bool, who: Asker, giver: str) -> str:
    """Why this person's vote cannot be taken; empty when it can."""
    over = _too_late(inv, verdict, gate.clock.now_ns())
    if over:
        return over
    if not saw:
        return "Your card is out of date: it showed something else than what waits now. Look again, then decide."
    if who.method == "api_token":
        return NEVER
    if who.actors:
        return f"{who.actors[0]} acts for you here, and nobody votes for another that way. Vote in person."
    if verdict == "withdraw":
        mine = any(v.by == who.id for v in inv.votes)
        return "" if mine else "You have not voted on this, so there is nothing to take back."
    needed = " or ".join(sorted(wanted(inv)))
    apart = one_with_asker(gate, inv)
    if who.id in apart or giver in apart:
        return _own(inv, verdict, who, giver, needed)
    if who.principal.kind is not PrincipalKind.HUMAN:
        return f"Only people approve. Somebody of {needed} must."
    if giver and not gate.directory.may_vote_for(who.id, giver, gate.clock.now_ns()):
        return f"{giver} has not handed their approvals to you, or not for now. Ask them to `delegate`."
    if not wanted(inv) & groups_of(gate, giver or who.id):
        return f"Your vote does not count here: it takes somebody of {needed}."
    return ""


def _too_late(inv: Invocation, verdict: str, now_ns: int) -> str:
    if inv.state is State.PENDING:
        if inv.expires_ns <= now_ns:
            return f"It waited until {clock(inv.expires_ns)}, and that is over. Nothing was run. Ask again."
        return ""
    if inv.state is State.QUEUED and verdict in ("reject", "withdraw") and not (inv.job and inv.job.started_ns):
        return ""
    if inv.state is State.RUNNING:
        return f"It runs already, so a vote changes nothing. To stop it, type: cancel {inv.id}"
    return f"There is nothing to decide any more: {title_of(inv)}."


def _own(inv: Invocation, verdict: str, who: Asker, giver: str, needed: str) -> str:
    what = "approve" if verdict == "approve" else "reject"
    hint = f"Somebody else of {needed} must." if what == "approve" else f"To stop it, type: cancel {inv.id}"
    if giver and who.id != giver and who.id != inv.asked_by:
        return f"{inv.asked_by_name} asked for this, so nobody can {what} it in their place. {hint}"
    if who.id == inv.asked_by:
        return f"You asked for this yourself, so you cannot {what} it. {hint}"
    return f"{inv.asked_by_name} asked for this on your account, so you cannot {what} it. {hint}"


def needs_step_up(gate: Gate, inv: Invocation, who: Asker, giver: str) -> bool:
    """Whether every Requirement this person could help with wants to know them better than this call does."""
    groups = groups_of(gate, giver or who.id)
    open_ones = [s.requirement for s in inv.decision.requirements if not s.met]
    mine = [r for r in open_ones if groups & set(r.groups)]
    return bool(mine) and all(_weaker(who.assurance, r) for r in mine)


def _weaker(known: Assurance, requirement: Requirement) -> bool:
    return _ORDER.index(known) < _ORDER.index(requirement.assurance or Assurance.VERIFIED)
