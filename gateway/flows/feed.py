"""The feed: one reader a process turns new rows of the store into events for everybody who follows.

Redis only says that there is something new; when it is gone, following gets slower, never wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from gateway.domain.errors import Unavailable
from gateway.domain.invocation import when
from gateway.domain.ports import Bus, EventRow, FeedFilter, Notice, Store
from gateway.domain.words import view
from opsgate.contracts.events import FeedEvent
from opsgate.contracts.invocations import LogLine

PAGE = 500
KEEP_ALIVE_S = 15.0
BACKLOG = 1_000
"""Events a slow follower may lag behind; then it is cut off and comes again with its last id."""


class FeedHub:
    """Shared by all followers of this process."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store = store
        self._bus = bus
        self._queues: set[asyncio.Queue[FeedEvent | None]] = set()
        self._last = -1
        self._mine = asyncio.Event()

    def nudge(self) -> None:
        """This process wrote something."""
        self._mine.set()

    async def run(self) -> None:
        """Reads new events for ever; ends when cancelled."""
        while True:
            try:
                await self._pass()
            except Unavailable:
                await asyncio.sleep(1)
                continue
            await self._wait()

    async def _wait(self) -> None:
        mine = asyncio.create_task(self._mine.wait())
        others = asyncio.create_task(self._bus.wait(1.0))
        _, late = await asyncio.wait({mine, others}, return_when=asyncio.FIRST_COMPLETED)
        if self._mine.is_set():
            self._mine.clear()
            await self._bus.ring()
        for waiting in late:
            waiting.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _pass(self) -> None:
        if self._last < 0:
            self._last = await self._store.last_event()
        if not self._queues:
            self._last = max(self._last, await self._store.last_event())
            return
        while rows := await self._store.events(self._last, PAGE):
            for row in rows:
                self._hand_out(row)
            self._last = rows[-1].id

    def _hand_out(self, row: EventRow) -> None:
        made = event_of(row)
        for queue in list(self._queues):
            if queue.full():
                self._queues.discard(queue)
                queue.get_nowait()
                queue.put_nowait(None)
            else:
                queue.put_nowait(made)

    async def follow(self, after: int, wanted: FeedFilter) -> AsyncIterator[FeedEvent | None]:
        """Events after `after` (-1: from now on), then live ones; None is a keep-alive. Ends when it lags too far."""
        queue: asyncio.Queue[FeedEvent | None] = asyncio.Queue(BACKLOG)
        last = after if after >= 0 else await self._store.last_event()
        self._queues.add(queue)
        yield None  # connected
        try:
            while rows := await self._store.events(last, PAGE):
                for row in rows:
                    last = row.id
                    made = event_of(row)
                    if sees(wanted, made):
                        yield made
            while True:
                try:
                    event = await asyncio.wait_for(queue.get(), KEEP_ALIVE_S)
                except TimeoutError:
                    yield None
                    continue
                if event is None:
                    return
                if event.id > last and sees(wanted, event):
                    yield event
        finally:
            self._queues.discard(queue)


def sees(wanted: FeedFilter, event: FeedEvent) -> bool:
    """Whether this follower gets this event: private answers only go to their asker."""
    inv = event.invocation
    if inv is None:
        return wanted.invocation is None and event.channel in ("", wanted.channel or event.channel)
    if wanted.invocation and inv.id != wanted.invocation:
        return False
    if wanted.channel and inv.context.channel != wanted.channel:
        return False
    return inv.visibility == "channel" or wanted.sees_all or inv.requested_by.id == wanted.viewer


def event_of(row: EventRow) -> FeedEvent:
    if row.invocation is None:
        said = row.notice or Notice("", "", "")
        where = {"platform": said.platform, "channel": said.channel}
        return FeedEvent(id=row.id, type="notice", at=when(row.at_ns), notice=said.text, **where)
    return FeedEvent(
        id=row.id,
        type="log" if row.type == "log" else "invocation",
        at=when(row.at_ns),
        invocation_id=row.invocation.id,
        invocation=view(row.invocation),
        log=tuple(LogLine(seq=x.seq, at=when(x.at_ns), text=x.text) for x in row.lines),
    )
