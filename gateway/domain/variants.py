"""What somebody could have asked instead: the near variants of a Command, for the policy to judge. Pure and bounded.

Refuses to suggest another service, and to invent a ticket or an incident.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product, zip_longest
from typing import Any

from gateway.domain.arguments import Asked, bind
from gateway.domain.catalog import Param, fill, placeholders
from gateway.domain.directory import Directory
from gateway.domain.errors import Mistake
from opsgate.contracts.decisions import Decision, Reason, Verdict

MOST = 12
"""Variants of one asking, at most."""
PAIRS = 4
"""Of them, so many may change two arguments at once."""
_NUMBER = re.compile(r"(?<![\w.-])[0-9]{1,15}(?![\w-]|\.[0-9])")


@dataclass(frozen=True)
class Variant:
    """`changed`: the arguments and options that differ from what was asked, one or two. `steps`: how far, as a rank."""

    asked: Asked
    changed: tuple[str, ...]
    steps: int


def variants(asked: Asked, reasons: Sequence[Reason], directory: Directory, most: int = MOST) -> tuple[Variant, ...]:
    """At most `most`, the likeliest first: what a reason names before the rest, one change before two."""
    found: list[Variant] = []
    seen = {asked.text}
    for changes, steps in _changes(asked, reasons, directory):
        made = _made(asked, changes, directory)
        if len(found) < most and made is not None and made.text not in seen:
            seen.add(made.text)
            found.append(Variant(made, tuple(changes), steps))
    return tuple(found)


def best(tried: Iterable[tuple[Variant, Decision]]) -> tuple[tuple[Variant, Decision], ...]:
    """Those that pass, one for each set of names: allowed before waiting, fewer changes first, near before far."""
    passing = [(v, d) for v, d in tried if d.effect is not Verdict.DENY]
    kept: dict[tuple[str, ...], tuple[Variant, Decision]] = {}
    for variant, decision in sorted(passing, key=_rank):
        kept.setdefault(variant.changed, (variant, decision))
    return tuple(kept.values())


def _rank(tried: tuple[Variant, Decision]) -> tuple[bool, int, int]:
    variant, decision = tried
    return decision.effect is not Verdict.ALLOW, len(variant.changed), variant.steps


def _changes(asked: Asked, reasons: Sequence[Reason], directory: Directory) -> Iterable[tuple[dict[str, Any], int]]:
    """Every change worth trying, as {name: value} with its rank."""
    named = [r.argument for r in reasons if r.argument]
    params = sorted(asked.command.params, key=lambda p: p.name not in named)
    values = {p.name: _values(p, asked, reasons, directory, p.name in named) for p in params}
    values |= {name: [""] for name in ("break_glass", "ticket") if getattr(asked.options, name)}
    ladders = [_ladder(name, found, asked.args.get(name)) for name, found in values.items() if found]
    singles = [step for rung in zip_longest(*ladders) for step in rung if step is not None]
    pairs = [pair for one, other in combinations(ladders, 2) for pair in product(one[:2], other[:2])][:PAIRS]
    for name, value, steps in singles[: MOST - len(pairs)]:
        yield {name: value}, steps
    for (name, value, steps), (also, second, more) in pairs:
        yield {name: value, also: second}, steps + more


def _ladder(name: str, values: list[Any], given: Any) -> list[tuple[str, Any, int]]:
    """In the order they are tried, each with how far it is from what was given."""
    if isinstance(given, int) and not isinstance(given, bool):
        far = sorted(values, key=lambda n: abs(n - given))
        return [(name, n, far.index(n)) for n in values]
    return [(name, value, n) for n, value in enumerate(values)]


def _made(asked: Asked, changes: dict[str, Any], directory: Directory) -> Asked | None:
    """The changed asking as it would be typed; None when nobody could type it, or it is about another service."""
    names = {p.name for p in asked.command.params}
    options = replace(asked.options, **{n: v for n, v in changes.items() if n not in names})
    try:
        made = bind(asked.command, asked.args | {n: v for n, v in changes.items() if n in names}, options, directory)
    except Mistake:
        return None
    service = asked.command.target.service
    return made if fill(service, made.args) == fill(service, asked.args) else None


def _values(param: Param, asked: Asked, reasons: Sequence[Reason], directory: Directory, named: bool) -> list[Any]:
    """Other values of this argument, the nearest first."""
    given = asked.args[param.name]
    if param.type == "service" or param.name in placeholders(asked.command.target.service):
        return []
    if param.type == "environment":
        return [e for e in _environments(asked, directory) if e != given]
    if given is None:
        return []  # what was left out is not what failed
    if param.type in ("integer", "duration"):
        return _numbers(param, given, reasons)
    if param.type == "version":
        entry = directory.service(str(fill(asked.command.target.service, asked.args) or ""))
        return [entry.latest] if entry and entry.latest and entry.latest != given else []
    if named and param.type == "enum":
        return [c for c in param.choices if c != given]
    return [not given] if named and param.type == "boolean" else []


def _environments(asked: Asked, directory: Directory) -> tuple[str, ...]:
    """Where the service is; anywhere for what has none."""
    entry = directory.service(str(fill(asked.command.target.service, asked.args) or ""))
    return entry.environments if entry else directory.environments


def _numbers(param: Param, given: int, reasons: Sequence[Reason]) -> list[int]:
    """The limits the reasons speak of (only a guess: the policy judges), then halving steps towards the least value."""
    spoken = {int(n) for r in reasons for n in _NUMBER.findall(r.msg)}
    limits = sorted((n for n in spoken if n != given), key=lambda n: abs(n - given))[:3]
    if param.min is None or param.min >= given:
        return limits
    way = given - param.min
    halves = [given - way // part for part in (2, 1, 4, 8)]
    return list(dict.fromkeys([*limits, *(n for n in halves if n != given)]))
