"""Who is who at this moment: the directory file with what sign-ins, links and delegations added, kept in memory.

The store is the truth: every decision compares the version of the snapshot, so that no gateway decides on an old one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.domain.directory import Directory, Principal
from gateway.domain.people import People
from gateway.domain.ports import Clock, Store


class Folk:
    """`listed` gives the directory file as it is in force now."""

    def __init__(self, store: Store, listed: Callable[[], Directory], clock: Clock) -> None:
        self._store = store
        self._listed = listed
        self._clock = clock
        self._people = People()
        self._turns = asyncio.Lock()
        self._base: Directory | None = None
        self._merged = Directory()

    @property
    def directory(self) -> Directory:
        listed = self._listed()
        if listed is not self._base:
            self._base, self._merged = listed, listed.with_people(self._people)
        return self._merged

    async def catch_up(self, version: int) -> None:
        """Reads the snapshot again when the store has another one. Raises Unavailable."""
        if version != self._people.version:
            async with self._turns:
                if version != self._people.version:  # nobody else did meanwhile
                    await self._read()

    async def refresh(self) -> None:
        """Reads the snapshot. Raises Unavailable."""
        async with self._turns:
            await self._read()

    async def _read(self) -> None:
        # One look at a time: a slow one that began before a change must not come in after the one that saw it.
        self._people = await self._store.people()
        self._base = None

    def person(self, person_id: str) -> Principal | None:
        """With the groups of this moment; None when unknown or deactivated."""
        return self.directory.person(person_id, self._clock.now_ns())
