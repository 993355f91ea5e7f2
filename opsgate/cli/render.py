"""Cards, lists and reports as plain terminal text. Refuses to print any text of the gateway unescaped.

Colours only where a person looks: on a terminal, without NO_COLOR, TERM not `dumb`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from opsgate.cli.text import lines, one_line
from opsgate.contracts.base import Contract
from opsgate.contracts.commands import WhatIf
from opsgate.contracts.decisions import Verdict
from opsgate.contracts.messages import Button, Card, Fact, Progress, Tone

_SIGN: dict[Tone, str] = {
    "info": "i", "waiting": "…", "running": "»", "success": "✓", "failure": "✗", "denied": "⊘",
}  # fmt: skip
_COLOUR: dict[Tone, str] = {
    "info": "36", "waiting": "33", "running": "34", "success": "32", "failure": "31", "denied": "31",
}  # fmt: skip
_VERDICT: dict[Verdict, tuple[Tone, str]] = {
    Verdict.ALLOW: ("success", "would run at once"),
    Verdict.PENDING: ("waiting", "would wait for approval"),
    Verdict.DENY: ("denied", "would be denied"),
}
_BAR = 20


def coloured() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def say(text: str) -> None:
    """Prints at once, so that a pipe sees progress when it happens. `text` is already safe."""
    print(text, flush=True)


def say_json(value: Contract | dict[str, Any]) -> None:
    """One line of pure ASCII JSON: nothing in it can move a terminal's cursor. Contracts may stand inside."""
    say(json.dumps(value, default=_plain))


def card(shown: Card) -> str:
    """The whole card, without a line end."""
    out = [_tinted(shown.tone, f"{_SIGN[shown.tone]} {one_line(shown.title)}")]
    out += [f"  {line}" for line in lines(shown.text)]
    width = max((len(one_line(fact.label)) for fact in shown.facts), default=0)
    out += [f"  {one_line(fact.label).ljust(width)}  {one_line(fact.value)}" for fact in shown.facts]
    out += [f"  - {one_line(bullet)}" for bullet in shown.bullets]
    if shown.progress:
        out.append(f"  {progress(shown.progress)}")
    out += [f"  {one_line(button.label)}: {_typed(button)}" for button in shown.buttons]
    out += [f"  {one_line(link.label)}: {one_line(link.url)}" for link in shown.links]
    out += [f"  example: {one_line(example)}" for example in shown.examples]
    if shown.footer:
        out.append(_dim(f"  {one_line(shown.footer)}"))
    return "\n".join(out)


def progress(shown: Progress) -> str:
    """`[#####---------------]  25%  2 of 8 replicas`; without a known length only the text."""
    if shown.percent is None:
        return one_line(shown.text)
    done = shown.percent * _BAR // 100
    return f"[{'#' * done}{'-' * (_BAR - done)}] {shown.percent:3d}%  {one_line(shown.text)}".rstrip()


def what_if(answer: WhatIf) -> Card:
    """The card of a decision that was only asked for. What the explanation says already is not said twice."""
    tone, would = _VERDICT[answer.decision.effect]
    return Card(
        tone=tone,
        title=f"{answer.text}: {would}",
        text=answer.explanation,
        bullets=tuple(r.msg for r in answer.decision.reasons if r.msg not in answer.explanation),
        facts=(Fact(label="would pass" if answer.would_pass else "what helps", value=answer.hint),)
        if answer.hint
        else (),
        examples=answer.would_pass,
        footer=f"for {answer.person}, policy {answer.decision.revision}; nothing was run",
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns under each other; the last one is as long as it is."""
    clean = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*clean, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in clean)


def clock(at: datetime) -> str:
    """Local wall time, as the person at the terminal reads it."""
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def _typed(button: Button) -> str:
    """What to type here for what is a button elsewhere."""
    return "opsgate " + one_line(button.command.strip()).removeprefix("/ops ")


def _tinted(tone: Tone, text: str) -> str:
    return f"\x1b[1;{_COLOUR[tone]}m{text}\x1b[0m" if coloured() else text


def _dim(text: str) -> str:
    return f"\x1b[2m{text}\x1b[0m" if coloured() else text


def _plain(value: Contract) -> dict[str, Any]:
    return value.model_dump(mode="json", by_alias=True)
