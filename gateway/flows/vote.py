"""Somebody says yes or no. The policy is asked again with the vote in its input; the store makes one transition of it.

A vote is evidence for a new decision, bound to the hash the voter saw; it is never a right in itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

from gateway.domain import lifecycle
from gateway.domain.audit_chain import Entry
from gateway.domain.directory import Asker
from gateway.domain.errors import Conflict, Refused, not_found
from gateway.domain.ids import new_id
from gateway.domain.invocation import NS, Invocation, Job, Vote
from gateway.domain.ports import Change, Once
from gateway.domain.words import card, clock, title_of, view, what_to_do_about
from gateway.flows.gate import STATE_OF, Asked, Gate, summary
from opsgate.contracts.base import PrincipalKind
from opsgate.contracts.decisions import Verdict
from opsgate.contracts.invocations import Answer, State
from opsgate.contracts.messages import Card
from opsgate.contracts.problems import Code

AnswerOnce = Callable[[Answer], Once | None]
RETRIES = 300
"""How often a flow reads again when somebody else was first; each round one of the rivals gets through."""


@dataclass(frozen=True)
class Ballot:
    """What a voter sent. `binding_hash`: what their screen showed; empty when they typed the command's id."""

    invocation_id: str
    verdict: Literal["approve", "reject"]
    binding_hash: str
    reason: str


async def vote(gate: Gate, ballot: Ballot, who: Asker, once: AnswerOnce) -> Answer:
    """The Invocation after the vote, or a refusal in plain words. Raises Refused when there is no such Invocation."""
    for _ in range(RETRIES):
        inv = await gate.store.invocation(ballot.invocation_id)
        if inv is None or (inv.private and inv.asked_by != who.id):
            raise not_found(f"invocation `{ballot.invocation_id[:40]}`")
        now_ns = gate.clock.now_ns()
        refusal = why_not(inv, ballot, who, now_ns)
        if refusal:
            return await refuse(gate, inv, who, f"vote.{ballot.verdict}.refused", refusal, once)
        if any(v.by == who.id and v.verdict == ballot.verdict and now_ns < v.expires_ns for v in inv.votes):
            return await _again(gate, inv, once)
        try:
            return await _count(gate, inv, ballot, who, once)
        except Conflict:
            continue
    raise Refused(Code.NOT_POSSIBLE_NOW, 409, "Too many people decide at once. Look at the card and try again.")


def why_not(inv: Invocation, ballot: Ballot, who: Asker, now_ns: int) -> str:
    """Why this person's vote cannot be taken; empty when it can."""
    if inv.state is not State.PENDING:
        return f"There is nothing to decide any more: {title_of(inv)}."
    if inv.expires_ns <= now_ns:
        return f"It waited until {clock(inv.expires_ns)}, and that is over. Nothing was run. Ask again."
    if ballot.binding_hash and ballot.binding_hash != inv.binding_hash:
        return "Your card is out of date: it showed something else than what waits now. Look again, then decide."
    groups = {g for s in inv.decision.requirements for g in s.requirement.groups}
    needed = " or ".join(sorted(groups))
    if who.id == inv.asked_by:
        what = "approve" if ballot.verdict == "approve" else "reject"
        hint = f"Somebody else of {needed} must." if what == "approve" else f"To stop it, type: cancel {inv.id}"
        return f"You asked for this yourself, so you cannot {what} it. {hint}"
    if who.principal.kind is not PrincipalKind.HUMAN:
        return f"Only people approve. Somebody of {needed} must."
    if not groups & set(who.principal.groups):
        return f"Your vote does not count here: it takes somebody of {needed}."
    return ""


async def _again(gate: Gate, inv: Invocation, once: AnswerOnce) -> Answer:
    """The same person says the same again: nothing changes, and they see how it stands."""
    answer = Answer(kind="invocation", private=False, card=card(inv), invocation=view(inv))
    await gate.store.apply(Change((), once=once(answer)))
    return answer


async def _count(gate: Gate, inv: Invocation, ballot: Ballot, who: Asker, once: AnswerOnce) -> Answer:
    now_ns = gate.clock.now_ns()
    cast_vote = Vote(
        id=new_id("vot"),
        by=who.id,
        name=who.principal.name,
        kind=who.principal.kind,
        groups=who.principal.groups,
        verdict=ballot.verdict,
        at_ns=now_ns,
        expires_ns=now_ns + min(s.requirement.ttl_s for s in inv.decision.requirements) * NS,
        platform=who.platform,
        assurance=who.assurance,
        reason=ballot.reason,
        binding_hash=inv.binding_hash,
        policy_revision=inv.decision.revision,
        requirement_digest=inv.requirement_digest,
    )
    others = tuple(v for v in inv.votes if v.by != who.id)  # a person may change their mind until it is decided
    voted = inv.changed(now_ns, votes=(*others, cast_vote))
    requester = gate.directory().person(inv.asked_by)
    if requester is None:
        return await refuse(gate, inv, who, "vote.refused", f"{inv.asked_by_name} is not known any more.", once)
    asked = await gate.ask(voted, "approve", requester)
    if asked.no_decision:
        words = f"{what_to_do_about(asked.decision)} Your vote was not counted."
        return await refuse(gate, inv, who, "vote.refused", words, once)
    after = decided(voted, asked, now_ns)
    answer = Answer(kind="invocation", private=False, card=card(after), invocation=view(after))
    entry = gate.entry(
        f"vote.{ballot.verdict}",
        after,
        who.id,
        now_ns,
        vote=cast_vote.id,
        platform=who.platform,
        assurance=who.assurance.value,
        reason=ballot.reason,
        **summary(asked.decision),
    )
    queued = after.state is State.QUEUED
    await gate.store.apply(
        Change((entry,), after, inv.version, (asked.record,), wake_ns=now_ns if queued else None, once=once(answer))
    )
    gate.on_change()
    return answer


def decided(inv: Invocation, asked: Asked, now_ns: int) -> Invocation:
    """The Invocation in the state the Decision gives it. Votes under another set of requirements are void."""
    state = STATE_OF[asked.decision.effect.value]
    kept = inv.votes
    if asked.decision.effect is Verdict.PENDING and asked.requirement_digest != inv.requirement_digest:
        kept = ()
    return inv.model_copy(
        update={
            "state": lifecycle.step(inv.state, state),
            "decision": asked.decision,
            "requirement_digest": asked.requirement_digest,
            "votes": kept,
            "job": Job(queued_ns=now_ns, due_ns=now_ns) if state is State.QUEUED else None,
        }
    )


async def refuse(gate: Gate, inv: Invocation, who: Asker, kind: str, words: str, once: AnswerOnce) -> Answer:
    """A refusal only the asker sees; it is in the audit log too."""
    now_ns = gate.clock.now_ns()
    shown = Card(tone="denied", title="Not counted" if "vote" in kind else "Not possible", text=words, footer=inv.id)
    answer = Answer(kind="refusal", private=True, card=shown, invocation=view(inv))
    entry: Entry = gate.entry(kind, inv, who.id, now_ns, platform=who.platform, why=words)
    await gate.store.apply(Change((entry,), once=once(answer)))
    return answer


def ballot_from(invocation_id: str, verdict: str, binding_hash: str, reason: str) -> Ballot:
    return Ballot(invocation_id, cast(Literal["approve", "reject"], verdict), binding_hash, reason)
