"""What people type about themselves: their accounts, their tokens, whom they hand their approvals to.

Refuses to show a token in a chat: `tokens` only lists them.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from gateway.domain.arguments import near
from gateway.domain.directory import Asker
from gateway.domain.errors import Mistake
from gateway.domain.invocation import NS, when
from gateway.domain.ports import Once
from gateway.flows import delegating, linking, tokens
from gateway.flows.drafting import Ask
from gateway.flows.gate import Gate
from gateway.flows.vote import AnswerOnce
from opsgate.contracts.base import PrincipalKind
from opsgate.contracts.invocations import Answer
from opsgate.contracts.messages import Card
from opsgate.contracts.people import Credential, Delegation

_ACCOUNT = re.compile(r"[a-z]{1,20}:[^\s/]{1,80}/[^\s/]{1,80}")
_LASTS = re.compile(r"([0-9]{1,4})(m|h|d)")
_SECONDS = {"m": 60, "h": 3600, "d": 86_400}
_ID = re.compile(r"dlg_[0-9a-hjkmnp-tv-z]{10}")
DELEGATE = "delegate PERSON 8h REASON"


def _answer(title: str, text: str, lines: tuple[str, ...] = (), examples: tuple[str, ...] = ()) -> Answer:
    return Answer(
        kind="identity",
        private=True,
        card=Card(tone="info", title=title, text=text, bullets=lines, examples=examples),
    )


async def _links(gate: Gate, words: list[str], ask: Ask, who: Asker, once: AnswerOnce) -> Answer:
    mine = await linking.accounts(gate, who.id)
    lines = tuple(
        f"{a.identity} ({f'linked {a.linked_at:%Y-%m-%d %H:%M} UTC' if a.linked_at else 'by the directory'})"
        for a in mine
    )
    text = "These chat accounts are you, wherever you type." if mine else "No chat account is linked to you."
    removable = next((a.identity for a in mine if a.by == "sign-in"), None)
    return _answer("Your chat accounts", text, lines, (f"unlink {removable}",) if removable else ())


async def _unlink(gate: Gate, words: list[str], ask: Ask, who: Asker, once: AnswerOnce) -> Answer:
    if len(words) != 1 or not _ACCOUNT.fullmatch(words[0]):
        raise Mistake("`unlink` needs an account as `links` shows it: PLATFORM:WORKSPACE/ACCOUNT.", suggestion="links")
    answer = _answer("Unlinked", f"{words[0]} is nobody's from now on. Typing there offers a new link.")
    await linking.unlink(gate, words[0], who, once(answer))
    return answer


async def _tokens(gate: Gate, words: list[str], ask: Ask, who: Asker, once: AnswerOnce) -> Answer:
    now = when(gate.clock.now_ns())
    good = [c for c in await tokens.tokens(gate, who) if c.revoked_at is None and c.expires_at > now]
    text = "These speak for you, or for an account you own." if good else "You have no API tokens."
    make = " To make or revoke one, use `opsgate tokens` in a terminal: a token is never shown in a chat."
    return _answer("API tokens", text + make, tuple(map(_token_line, good)))


def _token_line(held: Credential) -> str:
    used = f"last used {held.last_used_at:%Y-%m-%d %H:%M} UTC" if held.last_used_at else "never used"
    may = ", ".join(held.scopes)
    return f"{held.id} “{held.name}” for {held.account} ({may}), until {held.expires_at:%Y-%m-%d}, {used}"


async def _delegate(gate: Gate, words: list[str], ask: Ask, who: Asker, once: AnswerOnce) -> Answer:
    if len(words) < 3:
        raise Mistake("`delegate` needs a person, how long, and why.", examples=(DELEGATE,))
    lasts = _LASTS.fullmatch(words[1])
    if not lasts:
        raise Mistake(f"`{words[1][:20]}` is no duration such as 30m, 8h or 5d.", examples=(DELEGATE,))
    to = words[0].lower()
    if gate.folk.person(to) is None:
        people = tuple(p.id for p in gate.directory.people if p.kind is PrincipalKind.HUMAN)
        guess = near(to, people)
        better = f"delegate {guess} {' '.join(words[1:])}" if guess else None
        raise Mistake(f"There is no active person `{to[:63]}`.", suggestion=better, examples=(DELEGATE,))
    until_ns = gate.clock.now_ns() + int(lasts[1]) * _SECONDS[lasts[2]] * NS
    answers: list[Answer] = []

    def kept(made: Delegation) -> Once | None:
        text = f"{made.taker} may approve in your place {_until(made)}. Both names will stand in the record."
        answers.append(_answer("Handed on", text, (), (f"undelegate {made.id}",)))
        return once(answers[0])

    await delegating.make(gate, to, when(until_ns), " ".join(words[2:]), who, kept)
    return answers[0]


async def _delegations(gate: Gate, words: list[str], ask: Ask, who: Asker, once: AnswerOnce) -> Answer:
    now = when(gate.clock.now_ns())
    held = [d for d in await delegating.delegations(gate, who) if d.ended_at is None and d.until > now]
    lines = tuple(
        (f"{d.taker} approves for you" if d.giver == who.id else f"you approve for {d.giver}")
        + f" {_until(d)}: {d.reason} ({d.id})"
        for d in held
    )
    text = "`undelegate ID` ends one." if held else "You handed your approvals to nobody, and nobody theirs to you."
    return _answer("Approvals handed on", text, lines, () if held else (DELEGATE,))


async def _undelegate(gate: Gate, words: list[str], ask: Ask, who: Asker, once: AnswerOnce) -> Answer:
    if len(words) != 1 or not _ID.fullmatch(words[0]):
        raise Mistake("`undelegate` needs the id of a delegation; `delegations` shows them.", suggestion="delegations")
    answer = _answer("Ended", f"{words[0]} has ended. Votes cast by it do not count any more.")
    await delegating.end(gate, words[0], who, once(answer))
    return answer


def _until(held: Delegation) -> str:
    return f"until {held.until:%Y-%m-%d %H:%M} UTC"


TALK: dict[str, Callable[[Gate, list[str], Ask, Asker, AnswerOnce], Awaitable[Answer]]] = {
    "links": _links,
    "unlink": _unlink,
    "tokens": _tokens,
    "delegate": _delegate,
    "delegations": _delegations,
    "undelegate": _undelegate,
}
