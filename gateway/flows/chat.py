"""A line typed in a chat, and its answer. The conversation's own words are here; everything else is a Command."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from gateway.domain.arguments import near, words_of
from gateway.domain.directory import Asker
from gateway.domain.errors import Mistake, Unavailable, not_found
from gateway.domain.grammar import normalize
from gateway.domain.ids import INVOCATION
from gateway.domain.invocation import Invocation
from gateway.domain.ports import Query
from gateway.domain.words import approve_line, card, clock, credits, listed, verdict_words, view
from gateway.flows import approvals, explain, people_talk, reviews
from gateway.flows.cancel import cancel
from gateway.flows.drafting import Ask
from gateway.flows.gate import Gate
from gateway.flows.submit import submit
from gateway.flows.vote import AnswerOnce, Ballot, Say, vote
from gateway.flows.voters import voting_for, why_not
from opsgate.contracts.commands import CommandView
from opsgate.contracts.invocations import Answer
from opsgate.contracts.messages import Card, Fact
from opsgate.contracts.problems import Code

HISTORY = 10


async def say(gate: Gate, ask: Ask, who: Asker, once: AnswerOnce) -> Answer:
    """The answer to one line. A mistake is an answer too. Raises Refused and Unavailable."""
    try:
        return await _say(gate, ask, who, once)
    except Mistake as mistake:
        shown = Card(
            tone="info",
            title="Not understood",
            text=mistake.detail,
            examples=tuple(dict.fromkeys(filter(None, (mistake.suggestion, *mistake.examples)))),
        )
        return Answer(kind="mistake", private=True, card=shown)


async def _say(gate: Gate, ask: Ask, who: Asker, once: AnswerOnce) -> Answer:
    words = [w.text for w in words_of(ask.text or "")]
    if not words:
        return await _help(gate, [], ask, who, once)
    talk = _TALK.get(words[0])
    if words[0] == "status" and len(words) > 1 and words[1].startswith("inv_"):
        talk = _status
    if talk is not None:
        return await talk(gate, words[1:], ask, who, once)
    inv = await submit(gate, ask, who, lambda made: once(answer_of(made)))
    return answer_of(inv)


def answer_of(inv: Invocation) -> Answer:
    return Answer(kind="invocation", private=inv.private, card=card(inv), invocation=view(inv))


async def _help(gate: Gate, words: list[str], ask: Ask, who: Asker, once: AnswerOnce) -> Answer:
    try:
        views = await explain.commands(gate, who)
    except Unavailable as trouble:
        if trouble.code is not Code.POLICY_UNAVAILABLE:
            raise
        nobody_knows = Card(tone="failure", title="Help", text=trouble.detail, facts=_also())
        return Answer(kind="help", private=True, card=nobody_knows)
    if words and views:  # who may do nothing learns nothing: not even whether there is such a command
        return Answer(kind="help", private=True, card=_help_on(words[0], views))
    may = [v for v in views if v.may.value != "deny"]
    lines = [f"{v.usage}: {v.summary}" + ("" if v.may.value == "allow" else f" ({verdict_words(v.may)})") for v in may]
    if may:
        text = (
            f"What you, {who.principal.name}, may do. “help COMMAND” shows one; “why LINE” says what would be decided."
        )
    else:
        text = f"You, {who.principal.name}, have no role here yet. Ask your team or security to add you to a group."
    examples = tuple(v.examples[0] for v in may[:3])
    return Answer(
        kind="help",
        private=True,
        card=Card(tone="info", title="Help", text=text, bullets=tuple(lines), facts=_also(), examples=examples),
    )


def _also() -> tuple[Fact, ...]:
    """The conversation's own words."""
    return (Fact(label="Also", value=", ".join(sorted(_TALK))),)


def _help_on(word: str, views: tuple[CommandView, ...]) -> Card:
    found = next((v for v in views if word == v.name or word in v.aliases), None)
    if found is None:
        guess = near(word, tuple(v.name for v in views))
        raise Mistake(f"There is no command `{word[:64]}`.", suggestion=f"help {guess}" if guess else "help")
    params = tuple(
        f"{p.name} ({p.type}{'' if p.required else ', may be left out'})"
        + (f": {p.summary}" if p.summary else "")
        + (f" One of {', '.join(p.choices)}." if 0 < len(p.choices) <= 8 else "")
        for p in found.params
    )
    may = tuple(Fact(label=env or "Anywhere", value=verdict_words(v)) for env, v in found.targets.items())
    return Card(
        tone="info",
        title=f"{found.name}: {found.summary}",
        text=f"Usage: {found.usage} [--reason TEXT] [--ticket KEY] [--break-glass INCIDENT]",
        facts=may,
        bullets=params,
        examples=found.examples,
    )


async def _why(gate: Gate, words: list[str], ask: Ask, who: Asker, once: AnswerOnce) -> Answer:
    line = normalize(ask.text or "").partition("why")[2].strip()
    person = None
    if of := _OF_WHOM.match(line):
        person, line = of[1], line[of.end() :]
    if not line:
        raise Mistake("Say what about, for example:", suggestion="why deploy production api-service")
    found = await explain.what_if(gate, line, who, person)
    facts = [Fact(label="Asked", value=found.text), Fact(label="Policy", value=found.decision.revision)]
    facts += [
        Fact(label=r.code + (f" ({r.argument})" if r.argument else ""), value=r.msg) for r in found.decision.reasons
    ]
    if found.person != who.id:
        facts.insert(0, Fact(label="For", value=found.person))
    if found.hint:
        facts.append(Fact(label="Would pass" if found.would_pass else "What helps", value=found.hint))
    shown = Card(
        tone={"allow": "success", "pending": "waiting", "deny": "denied"}[found.decision.effect.value],
        title=f"Would be: {found.decision.effect.value}",
        text=found.explanation,
        facts=tuple(facts),
        examples=found.would_pass,
        footer="Nothing was run.",
    )
    return Answer(kind="explanation", private=True, card=shown)


async def _history(gate: Gate, words: list[str], ask: Ask, who: Asker, once: AnswerOnce) -> Answer:
    service = words[0] if words else None
    rows = await gate.store.invocations(Query(viewer=who.id, limit=HISTORY, service=service))
    lines = tuple(f"{clock(r.created_ns)}  {r.text}: {r.state.value}. {credits(r)} ({r.id})" for r in rows)
    text = f"The last {len(rows)}" + (f" of {service}." if service else ".") if rows else "Nothing happened here yet."
    return Answer(kind="history", private=True, card=Card(tone="info", title="History", text=text, bullets=lines))


async def _status(gate: Gate, words: list[str], ask: Ask, who: Asker, once: AnswerOnce) -> Answer:
    inv = await gate.store.invocation(words[0]) if INVOCATION.fullmatch(words[0]) else None
    if inv is None or (inv.private and inv.asked_by != who.id):
        raise not_found(f"invocation `{words[0][:40]}`")
    return Answer(kind="invocation", private=True, card=card(inv), invocation=view(inv))


async def _whoami(gate: Gate, words: list[str], ask: Ask, who: Asker, once: AnswerOnce) -> Answer:
    groups = ", ".join(who.principal.groups) or "none"
    shown = Card(
        tone="info",
        title=who.principal.name,
        text=f"You are {who.principal.name} ({who.id}). Your groups: {groups}.",
        facts=(Fact(label="Known by", value=f"{who.method} ({who.assurance.value})"),),
    )
    return Answer(kind="identity", private=True, card=shown)


async def _approve(gate: Gate, words: list[str], ask: Ask, who: Asker, once: AnswerOnce) -> Answer:
    return await _decide(gate, words, "approve", who, once)


async def _reject(gate: Gate, words: list[str], ask: Ask, who: Asker, once: AnswerOnce) -> Answer:
    return await _decide(gate, words, "reject", who, once)


async def _withdraw(gate: Gate, words: list[str], ask: Ask, who: Asker, once: AnswerOnce) -> Answer:
    return await _decide(gate, words, "withdraw", who, once)


async def _decide(gate: Gate, words: list[str], verb: Say, who: Asker, once: AnswerOnce) -> Answer:
    """A vote typed with what was on the screen. Without that it is shown first: nobody agrees to the unseen."""
    found = _the_id(words, verb)
    if len(words) > 1 and _SHORT.fullmatch(words[1]):
        return await vote(gate, Ballot(found, verb, f"{words[1]}", " ".join(words[2:])), who, once)
    inv = await gate.store.invocation(found)
    if inv is None or (inv.private and inv.asked_by != who.id):
        raise not_found(f"invocation `{found[:40]}`")
    giver = voting_for(gate, inv, None, who)
    if verb == "withdraw" or why_not(gate, inv, verb, True, who, giver):
        # Nothing new is agreed to, or the vote says why it cannot be taken.
        return await vote(gate, Ballot(found, verb, inv.binding_hash, " ".join(words[1:])), who, once)
    shown = card(inv)
    text = f"Look at it first. To {verb} exactly this, press the button or type: {approve_line(inv, verb)}"
    return Answer(kind="invocation", private=True, card=shown.model_copy(update={"text": text}), invocation=view(inv))


async def _cancel(gate: Gate, words: list[str], ask: Ask, who: Asker, once: AnswerOnce) -> Answer:
    return await cancel(gate, _the_id(words, "cancel"), " ".join(words[1:]), who, once)


async def _approvals(gate: Gate, words: list[str], ask: Ask, who: Asker, once: AnswerOnce) -> Answer:
    """What waits for this person."""
    waiting = await approvals.waiting_for(gate, who)
    lines = tuple(f"{inv.text}, asked by {inv.asked_by_name} ({inv.id})" for inv in waiting)
    text = "This waits for you. `approve ID` shows one before you decide." if waiting else "Nothing waits for you."
    return Answer(kind="history", private=True, card=Card(tone="info", title="Approvals", text=text, bullets=lines))


async def _reviews(gate: Gate, words: list[str], ask: Ask, who: Asker, once: AnswerOnce) -> Answer:
    open_ones = await reviews.reviews(gate, open_only=True)
    lines = tuple(
        f"{r.id}: {r.person} broke the glass ({r.invocation_id}); until {clock(r.due_ns)}, by {listed(list(r.groups))}"
        for r in open_ones
    )
    text = "To close one, type: review ID WHAT YOU FOUND" if open_ones else "Every use of broken glass was reviewed."
    return Answer(kind="history", private=True, card=Card(tone="info", title="Reviews", text=text, bullets=lines))


async def _review(gate: Gate, words: list[str], ask: Ask, who: Asker, once: AnswerOnce) -> Answer:
    if not words or not _REVIEW.fullmatch(words[0]):
        raise Mistake("`review` needs the id of a review and what you found.", suggestion="reviews")
    shown = Card(tone="success", title="Review closed", text=f"{words[0]} is closed, and on record with your name.")
    answer = Answer(kind="history", private=False, card=shown)
    await reviews.close(gate, words[0], " ".join(words[1:]), who, lambda _: once(answer))
    return answer


def _the_id(words: list[str], verb: str) -> str:
    if not words or not INVOCATION.fullmatch(words[0]):
        given = f"`{words[0][:40]}` is not one" if words else "none was given"
        raise Mistake(
            f"`{verb}` needs the id of an invocation, and {given}. `history` shows them.", suggestion="history"
        )
    return words[0]


_OF_WHOM = re.compile(r"--as[= ]\s*(\S+)\s*")
_SHORT = re.compile(r"[0-9a-f]{8}")
_REVIEW = re.compile(r"rev_[0-9a-hjkmnp-tv-z]{10}")
_Talk = Callable[[Gate, list[str], Ask, Asker, AnswerOnce], Awaitable[Answer]]
_TALK: dict[str, _Talk] = {
    "help": _help,
    "why": _why,
    "history": _history,
    "whoami": _whoami,
    "approve": _approve,
    "reject": _reject,
    "withdraw": _withdraw,
    "approvals": _approvals,
    "reviews": _reviews,
    "review": _review,
    "cancel": _cancel,
    **people_talk.TALK,
}
