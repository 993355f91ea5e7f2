"""Answers worth giving again for a few seconds, so that typing is quick. Never holds what something runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Any

MOST = 500
"""Entries; the oldest goes first."""


class Kept:
    """`made_from`: the parts an answer was made from; with another part (by identity) it does not hold any more.

    `turns`: a long batch to the policy takes one, so that many at once leave the policy room for real decisions.
    """

    def __init__(self) -> None:
        self.turns = asyncio.Semaphore(2)
        self._rows: dict[Hashable, tuple[int, tuple[object, ...], Any]] = {}

    def get(self, key: Hashable, made_from: tuple[object, ...], now_ns: int) -> Any:
        """The answer, or None."""
        until_ns, parts, answer = self._rows.get(key, (0, (), None))
        same = len(parts) == len(made_from) and all(a is b for a, b in zip(parts, made_from, strict=True))
        return answer if same and now_ns < until_ns else None

    def put(self, key: Hashable, made_from: tuple[object, ...], until_ns: int, answer: Any) -> None:
        self._rows.pop(key, None)
        self._rows[key] = (until_ns, made_from, answer)
        while len(self._rows) > MOST:
            del self._rows[next(iter(self._rows))]
