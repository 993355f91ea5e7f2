"""The adapter kit: one message per Invocation in a chat, edited in place as the feed tells of changes.

Refuses to decide or to word anything: it shows what the gateway says, and the last state always wins.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from opsgate.contracts.events import FeedEvent
from opsgate.contracts.invocations import (
    Answer,
    CancelInvocation,
    CastVote,
    InvocationView,
    LogLine,
    SendMessage,
    State,
)

log = logging.getLogger(__name__)

OPEN = frozenset({State.PENDING, State.QUEUED, State.RUNNING})
"""States after which more will follow."""
LOG_LINES = 20
"""How many of a failed Job's last lines go under its message."""
_KEEP_S = 30 * 86_400


class SlowDown(Exception):
    """The platform wants fewer calls: come back after `after_s` seconds."""

    def __init__(self, after_s: float) -> None:
        super().__init__(f"asked to wait {after_s:g} s")
        self.after_s = after_s


class Undeliverable(Exception):
    """The platform will never take this message (no such channel, message deleted, not a member)."""


class Room(Protocol):
    """What a chat platform offers the kit. Calls raise SlowDown, Undeliverable, or anything that is worth a new try."""

    async def post(self, view: InvocationView) -> str:
        """Shows it where it was asked; answers the platform's id of the new message."""

    async def edit(self, message: str, view: InvocationView) -> None: ...

    async def reply(self, message: str, view: InvocationView, lines: Sequence[str]) -> None:
        """Puts log lines into the message's thread."""

    async def announce(self, channel: str, text: str) -> None:
        """Says one line to everybody in a channel: a reminder, or that somebody broke the glass."""


class Source(Protocol):
    """What the Follower needs of the gateway."""

    def events(self, *, last_event_id: int | None = None) -> AsyncIterator[FeedEvent]: ...

    async def invocation(self, invocation_id: str) -> InvocationView: ...


class Gateway(Source, Protocol):
    """The gateway as an adapter sees it; `opsgate.Client` is one. Calls raise OpsgateError."""

    async def send_message(self, body: SendMessage, *, key: str | None = None) -> Answer: ...

    async def vote(self, invocation_id: str, body: CastVote, *, key: str | None = None) -> Answer: ...

    async def cancel(self, invocation_id: str, body: CancelInvocation, *, key: str | None = None) -> Answer: ...


class Note(NamedTuple):
    """Which message shows an Invocation, in which version. `message` is empty while none was posted."""

    message: str
    version: int
    posted_at: float


class Notebook:
    """What must survive a restart, in a small SQLite file: the messages, and how far the feed was read."""

    def __init__(self, path: Path | str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript(
            """PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;
            CREATE TABLE IF NOT EXISTS note (invocation TEXT PRIMARY KEY, message TEXT NOT NULL DEFAULT '',
                version INTEGER NOT NULL DEFAULT 0, open INTEGER NOT NULL DEFAULT 1, at REAL NOT NULL);
            CREATE TABLE IF NOT EXISTS place (one INTEGER PRIMARY KEY CHECK (one = 1), event INTEGER NOT NULL);"""
        )
        self._db.execute("DELETE FROM note WHERE at < ?", (time.time() - _KEEP_S,))

    def close(self) -> None:
        self._db.close()

    def begin(self, invocation_id: str) -> None:
        """Notes that this Invocation wants a message, before the feed is read on."""
        self._db.execute("INSERT OR IGNORE INTO note (invocation, at) VALUES (?, ?)", (invocation_id, time.time()))

    def find(self, invocation_id: str) -> Note | None:
        query = "SELECT message, version, at FROM note WHERE invocation = ?"
        row = self._db.execute(query, (invocation_id,)).fetchone()
        return Note(*row) if row else None

    def shown(self, view: InvocationView, note: Note) -> None:
        self._db.execute(
            "UPDATE note SET message = ?, version = ?, open = ?, at = ? WHERE invocation = ?",
            (note.message, note.version, view.state in OPEN, note.posted_at, view.id),
        )

    def give_up(self, invocation_id: str) -> None:
        self._db.execute("UPDATE note SET open = 0 WHERE invocation = ?", (invocation_id,))

    def unfinished(self) -> list[str]:
        return [row[0] for row in self._db.execute("SELECT invocation FROM note WHERE open = 1 ORDER BY at")]

    def place(self) -> int | None:
        row = self._db.execute("SELECT event FROM place").fetchone()
        return int(row[0]) if row else None

    def read_to(self, event_id: int) -> None:
        self._db.execute("REPLACE INTO place VALUES (1, ?)", (event_id,))


@dataclass
class _Message:
    """One Invocation's message while it changes: the newest view, and who brings it to the chat."""

    wanted: InvocationView
    posted: asyncio.Future[float]
    keeper: asyncio.Task[None] | None = None
    lost: bool = False
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES))


class Follower:
    """Keeps every message of one platform at its Invocation's last state.

    `edit_every_s`: at most one call per message in that time. Run one Follower per workspace: two would post twice.
    """

    def __init__(
        self,
        source: Source,
        room: Room,
        notebook: Notebook,
        *,
        platform: str,
        loud_channel: str = "",
        edit_every_s: float = 1.0,
    ) -> None:
        """`loud_channel`: where what everybody must read is posted; empty: nowhere on this platform."""
        self._source = source
        self._room = room
        self._notebook = notebook
        self._platform = platform
        self._loud_channel = loud_channel
        self._edit_every_s = edit_every_s
        self._messages: dict[str, _Message] = {}
        self.trouble = "not started"

    async def run(self) -> None:
        """Follows the feed until cancelled; whatever breaks it, it goes on from the last event it read."""
        wait_s = 0.0
        while True:
            try:
                await self._catch_up()
                self.trouble = ""
                async for event in self._source.events(last_event_id=self._notebook.place()):
                    wait_s = 0.0
                    self._take(event)
                    await self._announce(event)
                    self._notebook.read_to(event.id)
            except Exception as broken:  # the chat must come back to life after any fault of the gateway or the wire
                self.trouble = f"the feed broke: {type(broken).__name__}"
                log.warning("the feed broke, following again in a moment: %s", broken)
            wait_s = min(max(0.5, wait_s * 2), 30.0)
            await asyncio.sleep(wait_s)

    async def close(self) -> None:
        """Stops editing; what is not shown yet is brought up to date by the next start."""
        keepers = [m.keeper for m in self._messages.values() if m.keeper]
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)

    def ours(self, view: InvocationView) -> bool:
        """Whether it has, or should have, a message on this platform."""
        return view.platform == self._platform and view.context.channel != "" and view.visibility == "channel"

    def put(self, view: InvocationView) -> None:
        """Wants this view shown, soon; an older one than known is ignored."""
        if self.ours(view):
            self._want(view)

    async def show(self, view: InvocationView) -> float:
        """Like `put`, and waits for the message: when it was posted (Unix time). Raises Undeliverable."""
        return await asyncio.shield(self._want(view).posted)

    async def _catch_up(self) -> None:
        for invocation_id in self._notebook.unfinished():
            try:
                self._want(await self._source.invocation(invocation_id))
            except Exception as missing:  # one that cannot be read must not keep the others from the feed
                log.warning("cannot look up %s: %s", invocation_id, missing)

    def _take(self, event: FeedEvent) -> None:
        if event.invocation is not None:
            self.put(event.invocation)
        if event.log and event.invocation_id in self._messages:
            self._messages[event.invocation_id].lines.extend(_plain(event.log))

    async def _announce(self, event: FeedEvent) -> None:
        """At least once, unless the platform says that it never will: the place in the feed is kept afterwards."""
        channel = event.channel if event.platform == self._platform else "" if event.platform else self._loud_channel
        if not event.notice or not channel:
            return None
        while True:
            try:
                return await self._room.announce(channel, event.notice)
            except SlowDown as slow:
                await asyncio.sleep(slow.after_s)
            except Undeliverable as never:
                log.warning("a notice cannot be delivered: %s", never)
                return None

    def _want(self, view: InvocationView) -> _Message:
        self._notebook.begin(view.id)
        message = self._messages.get(view.id)
        if message is None:
            message = self._messages[view.id] = _Message(view, asyncio.get_running_loop().create_future())
        elif view.version > message.wanted.version:
            message.wanted = view
        if message.keeper is None and not message.lost:
            message.keeper = asyncio.create_task(self._keep(view.id, message))
        return message

    async def _keep(self, invocation_id: str, message: _Message) -> None:
        """Brings the message to the newest view, one call at a time and not too often, then ends."""
        fault_s = 0.0
        try:
            while (note := self._notebook.find(invocation_id)) is not None:
                if note.message and not message.posted.done():
                    message.posted.set_result(note.posted_at)
                if note.version >= message.wanted.version:
                    await self._comfort(note, message)
                    break
                try:
                    await self._bring(note, message.wanted, message.posted)
                    fault_s = 0.0
                    await asyncio.sleep(self._edit_every_s)
                except SlowDown as slow:
                    await asyncio.sleep(slow.after_s)
                except Undeliverable:
                    raise
                except Exception as fault:  # a broken connection, a platform's bad minute: the state must arrive later
                    fault_s = min(max(self._edit_every_s, fault_s * 2), 60.0)
                    log.warning("a message is not delivered, trying again: %r", fault, extra=_about(message))
                    await asyncio.sleep(fault_s)
        except Undeliverable as never:
            log.warning("a message cannot be delivered: %s", never, extra=_about(message))
            self._notebook.give_up(invocation_id)
            message.lost = True
            if not message.posted.done():
                message.posted.set_exception(never)
                message.posted.exception()  # marks it as seen: nobody may be waiting
        finally:
            message.keeper = None
            message.posted.cancel()
            if message.wanted.state not in OPEN:
                self._messages.pop(invocation_id, None)

    async def _bring(self, note: Note, view: InvocationView, posted: asyncio.Future[float]) -> None:
        if note.message:
            await self._room.edit(note.message, view)
            note = note._replace(version=view.version)
        else:
            note = Note(await self._room.post(view), view.version, time.time())
        self._notebook.shown(view, note)
        if not posted.done():
            posted.set_result(note.posted_at)

    async def _comfort(self, note: Note, message: _Message) -> None:
        """The last log lines of what failed, into the thread. Tried once: the state was the message."""
        if message.wanted.state not in (State.FAILED, State.UNKNOWN) or not message.lines:
            return
        try:
            await self._room.reply(note.message, message.wanted, tuple(message.lines))
        except Exception as lost:
            log.warning("log lines are not delivered: %r", lost, extra=_about(message))
        message.lines.clear()


def _about(message: _Message) -> dict[str, str]:
    """What every line of the log names."""
    return {"invocation": message.wanted.id, "trace_id": message.wanted.trace_id}


def _plain(lines: Sequence[LogLine]) -> list[str]:
    return [line.text for line in lines]
