"""Somebody says yes or no, or takes it back. The policy is asked again with the votes in its input; the store makes
one transition of it. A vote is evidence for a new decision, bound to the hash the voter saw; never a right in itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from gateway.domain import binding, lifecycle
from gateway.domain.audit_chain import Entry
from gateway.domain.directory import Asker
from gateway.domain.errors import Conflict, Refused, not_found
from gateway.domain.ids import new_id
from gateway.domain.invocation import NS, Invocation, Vote
from gateway.domain.ports import Change, Once
from gateway.domain.words import card, view, what_to_do_about
from gateway.flows import step_up
from gateway.flows.drafting import DEFAULT_WAIT_S, queued_job
from gateway.flows.gate import STATE_OF, Asked, Gate, open_name, summary
from gateway.flows.obligations import Fulfilled, fulfil
from gateway.flows.voters import needs_step_up, voting_for, why_not
from opsgate.contracts.decisions import Verdict
from opsgate.contracts.invocations import Answer, State
from opsgate.contracts.messages import Card, Link
from opsgate.contracts.problems import Code

AnswerOnce = Callable[[Answer], Once | None]
Say = Literal["approve", "reject", "withdraw"]
RETRIES = 300
"""How often a flow reads again when somebody else was first; each round one of the rivals gets through."""


@dataclass(frozen=True)
class Ballot:
    """What a voter sent. `shown`: the hash their screen showed, or at least its first eight digits as they typed them.

    `on_behalf_of`: who delegated to them; None: whoever did, should their own vote not count.
    """

    invocation_id: str
    verdict: Say
    shown: str
    reason: str = ""
    on_behalf_of: str | None = None

    def saw(self, inv: Invocation) -> bool:
        return self.shown in (inv.binding_hash, binding.short(inv.binding_hash))


async def vote(gate: Gate, ballot: Ballot, who: Asker, once: AnswerOnce) -> Answer:
    """The Invocation after the vote, or a refusal in plain words. Raises Refused when there is no such Invocation."""
    for _ in range(RETRIES):
        inv = await gate.store.invocation(ballot.invocation_id)
        if inv is None or (inv.private and inv.asked_by != who.id):
            raise not_found(f"invocation `{ballot.invocation_id[:40]}`")
        # What was handed on at another gateway a moment ago counts here too.
        await gate.folk.catch_up(await gate.store.people_version())
        giver = voting_for(gate, inv, ballot.on_behalf_of, who)
        refusal = why_not(gate, inv, ballot.verdict, ballot.saw(inv), who, giver)
        if refusal:
            return await refuse(gate, inv, who, f"vote.{ballot.verdict}.refused", refusal, once)
        if _said_already(gate, inv, ballot, who, giver):
            return await _again(gate, inv, once)
        if ballot.verdict == "approve" and needs_step_up(gate, inv, who, giver):
            return await _ask_to_sign_in(gate, inv, ballot, who, giver, once)
        try:
            return await _count(gate, inv, ballot, who, giver, once)
        except Conflict:
            continue
    raise Refused(Code.NOT_POSSIBLE_NOW, 409, "Too many people decide at once. Look at the card and try again.")


def _said_already(gate: Gate, inv: Invocation, ballot: Ballot, who: Asker, giver: str) -> bool:
    now_ns = gate.clock.now_ns()
    return any(
        v.by == who.id and v.verdict == ballot.verdict and v.for_id == giver and now_ns < v.expires_ns
        for v in inv.votes
    )


async def _again(gate: Gate, inv: Invocation, once: AnswerOnce) -> Answer:
    """The same person says the same again: nothing changes, and they see how it stands."""
    answer = Answer(kind="invocation", private=False, card=card(inv), invocation=view(inv))
    await gate.store.apply(Change((), once=once(answer)))
    return answer


async def _ask_to_sign_in(
    gate: Gate, inv: Invocation, ballot: Ballot, who: Asker, giver: str, once: AnswerOnce
) -> Answer:
    """The policy wants to know the voter better than a chat does: they sign in again, and vote there."""
    words = "This approval needs you to sign in again, so that it is certain that it is you."
    links: tuple[Link, ...] = ()
    if gate.signs_in:
        links = (Link(label="Sign in and approve", url=await step_up.make(gate, inv, who, ballot.reason, giver)),)
        words += " The link is yours alone and good for five minutes."
    else:
        words += " No identity provider is set up here: ask the operator, or approve with a token of your own."
    return await refuse(gate, inv, who, "vote.step_up", words, once, links)


async def _count(gate: Gate, inv: Invocation, ballot: Ballot, who: Asker, giver: str, once: AnswerOnce) -> Answer:
    now_ns = gate.clock.now_ns()
    others = tuple(v for v in inv.votes if v.by != who.id)  # a person may change their mind until it is decided
    mine = () if ballot.verdict == "withdraw" else (_vote(gate, inv, ballot, who, giver, now_ns),)
    voted = inv.changed(now_ns, votes=(*others, *mine))
    asked = await gate.ask(voted, "approve")
    if asked.no_decision:
        words = f"{what_to_do_about(asked.decision)} Your vote was not counted."
        return await refuse(gate, inv, who, "vote.refused", words, once)
    change = await decided(gate, voted, asked, now_ns)
    after = change.invocation or voted
    answer = Answer(kind="invocation", private=False, card=card(after), invocation=view(after))
    said: dict[str, object] = {"vote": mine[0].id, "on_behalf_of": mine[0].for_id} if mine else {}
    said |= {"platform": who.platform, "assurance": who.assurance.value, "reason": ballot.reason}
    entry = gate.entry(f"vote.{ballot.verdict}", after, who.id, now_ns, **said, **summary(after.decision))
    await gate.store.apply(replace(change, entries=(entry,), expected=inv.version, once=once(answer)))
    gate.on_change()
    return answer


def _vote(gate: Gate, inv: Invocation, ballot: Ballot, who: Asker, giver: str, now_ns: int) -> Vote:
    person = gate.folk.person(giver) if giver else gate.folk.person(who.id)
    groups = person.groups if person else ()
    lasts = [s.requirement.ttl_s for s in inv.decision.requirements if set(groups) & set(s.requirement.groups)]
    return Vote(
        id=new_id("vot"),
        by=who.id,
        name=who.principal.name,
        kind=who.principal.kind,
        groups=groups,
        verdict="reject" if ballot.verdict == "reject" else "approve",
        at_ns=now_ns,
        expires_ns=now_ns + min(lasts, default=DEFAULT_WAIT_S) * NS,
        platform=who.platform,
        assurance=who.assurance,
        reason=ballot.reason,
        binding_hash=inv.binding_hash,
        policy_revision=inv.decision.revision,
        requirement_digest=inv.requirement_digest,
        for_id=giver,
        for_name=person.name if giver and person else "",
    )


async def decided(gate: Gate, inv: Invocation, asked: Asked, now_ns: int) -> Change:
    """The Invocation in the state the Decision gives it, with what it obliges to. Raises Unavailable.

    Votes under another set of requirements are void. `expected` and the entry are the caller's to fill in.
    """
    done = Fulfilled()
    if asked.decision.effect is Verdict.ALLOW and inv.state is State.PENDING:
        done = await fulfil(gate, inv, asked.decision, now_ns)
        asked = asked if done.failure is None else asked.denied(done.failure)
    state = lifecycle.step(inv.state, STATE_OF[asked.decision.effect.value])
    void = state is State.PENDING and asked.requirement_digest != inv.requirement_digest
    update: dict[str, object] = {
        "state": state,
        "decision": asked.decision,
        "requirement_digest": asked.requirement_digest,
        "votes": () if void else inv.votes,
        "job": inv.job,
    }
    if state is not inv.state and state is State.QUEUED:
        approvals = (v.expires_ns for v in inv.votes if v.verdict == "approve" and v.expires_ns > now_ns)
        update["job"] = queued_job(now_ns, done.start_by_ns, *approvals)
    if state is not inv.state and state is State.PENDING:
        waits = [s.requirement.wait_s or DEFAULT_WAIT_S for s in asked.decision.requirements]
        update |= {"job": None, "expires_ns": now_ns + min(waits, default=DEFAULT_WAIT_S) * NS}
    after = inv.model_copy(update=update)
    return Change(
        (),
        after,
        decisions=(asked.record,),
        wake_ns=now_ns if state is State.QUEUED and inv.state is State.PENDING else None,
        free=(open_name(inv),) if state is not State.PENDING else (),
        people=done.people,
        notice=done.notice,
        also=done.also,
    )


async def refuse(
    gate: Gate, inv: Invocation, who: Asker, kind: str, words: str, once: AnswerOnce, links: tuple[Link, ...] = ()
) -> Answer:
    """A refusal only the asker sees; it is in the audit log too."""
    now_ns = gate.clock.now_ns()
    title = "Sign in to approve" if links else "Not counted" if "vote" in kind else "Not possible"
    shown = Card(tone="denied" if not links else "waiting", title=title, text=words, links=links, footer=inv.id)
    answer = Answer(kind="refusal", private=True, card=shown, invocation=view(inv))
    entry: Entry = gate.entry(kind, inv, who.id, now_ns, platform=who.platform, why=words)
    # A link is a secret, and no secret is kept: who sends the same again is told to press again.
    again = shown.model_copy(update={"links": (), "text": "The link was given already. Press Approve for a new one."})
    kept = answer.model_copy(update={"card": again}) if links else answer
    await gate.store.apply(Change((entry,), once=once(kept)))
    return answer
