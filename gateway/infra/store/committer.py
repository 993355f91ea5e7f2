"""Group commit: units of work of concurrent callers share one transaction, and nobody is answered before its fsync.

One thread writes; the event loop never waits for a disk. A unit that fails takes back its own part only, and a group
that cannot be written for what is in it is written one by one.
"""

from __future__ import annotations

import asyncio
import json
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import rfc8785
from sqlalchemy import Connection, Engine, RowMapping, Transaction, event, insert, select, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from gateway.domain.audit_chain import Entry, Head, link
from gateway.domain.errors import Conflict, Refused, Unavailable
from gateway.domain.invocation import Invocation
from gateway.domain.ports import Notice, Sink
from gateway.infra.store.tables import audit, events
from gateway.infra.store.tables import lines as lines_table
from opsgate.contracts.audit import AuditRecord
from opsgate.contracts.problems import Code

STORE_GONE = (
    "The database does not answer or cannot be written, so nothing was done. "
    "Try again in a moment; if it stays so, tell the operator."
)
UNSURE = (
    "The database went away in the middle, so it is not known whether this was taken. "
    "Look at the history before you ask again."
)
NOT_STORABLE = "The database cannot keep one of these values: a NUL character or a number beyond 64 bits. Send another."
AUDIT_GONE = "The audit log cannot be written, so nothing is run. Tell the operator of Opsgate."
MAX_BATCH = 64
RECENT_S = 10.0
"""A failed write is spoken of for this long, or until one works."""
DEADLOCK = "40P01"
"""PostgreSQL's word for two transactions that wait for each other: it breaks off one of them."""
_EVENT_LOCK = 704_127
"""PostgreSQL advisory lock: event numbers become visible in their order, whichever gateway writes them."""


@dataclass
class Batch:
    """What units put together: audit records in chain order, feed events, log lines."""

    connection: Connection
    head: Head
    records: list[AuditRecord] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)

    def record(self, entry: Entry) -> None:
        made = link(self.head, entry)
        self.records.append(made)
        self.head = Head(made.writer, made.seq, made.hash)

    def event(self, inv: Invocation, kind: str, at_ns: int, first: int = 0, last: int = 0) -> None:
        row = {"at_ns": at_ns, "type": kind, "invocation_id": inv.id, "first_line": first, "last_line": last}
        self.events.append({**row, "platform": "", "channel": "", "notice": ""})

    def notice(self, said: Notice, at_ns: int) -> None:
        row = {"at_ns": at_ns, "type": "notice", "invocation_id": "", "first_line": 0, "last_line": 0}
        self.events.append({**row, "platform": said.platform, "channel": said.channel, "notice": said.text})

    def mark(self) -> tuple[Head, int, int, int]:
        return self.head, len(self.records), len(self.events), len(self.lines)

    def back_to(self, mark: tuple[Head, int, int, int]) -> None:
        self.head = mark[0]
        del self.records[mark[1] :], self.events[mark[2] :], self.lines[mark[3] :]


Unit = Callable[[Batch], Any]
Waiting = tuple[Unit, Future[Any]]


class Committer:
    """Runs units in a thread of its own. `commit` returns after the data is on disk."""

    def __init__(self, engine: Engine, writer: str, sinks: list[Sink], deadline_s: float) -> None:
        self._engine = engine
        self._writer = writer
        self._head: Head | None = None
        self._head_known = False
        self._unsent: list[tuple[Sink, list[AuditRecord]]] = [(sink, []) for sink in sinks]
        self._deadline_s = deadline_s
        self._failed: tuple[float, Unavailable] | None = None
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    async def commit(self, unit: Unit) -> Any:
        """The unit's result, once it is durable. Raises what the unit raised, or Unavailable."""
        done: Future[Any] = Future()
        self._queue.put((unit, done))
        answer = asyncio.wrap_future(done)
        for _ in range(2):  # what has begun may be written any moment, so it is waited for once more
            await asyncio.wait([answer], timeout=self._deadline_s)
            if answer.done():
                return answer.result()
            if done.cancel():  # it never began, and now it never will
                raise Unavailable(Code.STORE_UNAVAILABLE, STORE_GONE)
        raise Unavailable(Code.STORE_UNAVAILABLE, UNSURE)

    def check(self) -> None:
        """Raises why the last write failed, if that was a moment ago."""
        if self._failed is not None and time.monotonic() - self._failed[0] < RECENT_S:
            raise self._failed[1].with_traceback(None)

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while True:
            first = self._queue.get()
            if first is None:
                return
            batch = [first]
            while len(batch) < MAX_BATCH and not self._queue.empty():
                item = self._queue.get()
                if item is None:
                    self._queue.put(None)
                    break
                batch.append(item)
            self._commit(batch)

    def _commit(self, waiting: list[Waiting]) -> None:
        """Writes what is still waited for, and answers everybody."""
        problem = Unavailable(Code.AUDIT_UNAVAILABLE, AUDIT_GONE, 10)
        try:
            self._send_unsent()
            problem = Unavailable(Code.STORE_UNAVAILABLE, STORE_GONE)
            answers = self._transaction(waiting)
        except Exception as error:  # whatever it is: without this thread nothing is ever written again
            self._head_known = False
            if _of_the_group(error) and len(waiting) > 1:
                for alone in waiting:
                    self._commit([alone])
                return
            if _of_the_values(error):
                answers = [(done, _own(error)) for _, done in waiting if _begins(done)]
            else:
                problem = error if isinstance(error, Unavailable) else problem
                self._failed = (time.monotonic(), problem)
                answers = [(done, problem) for _, done in waiting if _begins(done)]
        else:
            self._failed = None
        for done, answer in answers:
            if isinstance(answer, Exception):
                done.set_exception(answer)
            else:
                done.set_result(answer)

    def _transaction(self, waiting: list[Waiting]) -> list[tuple[Future[Any], Any]]:
        """Each unit's result or failure. Raises Unavailable when nobody knows whether it was written."""
        answers: list[tuple[Future[Any], Any]] = []
        with self._engine.connect() as connection, connection.begin() as transaction:
            batch = Batch(connection, self._find_head(connection))
            # Only now that the database lets us write: who gave up meanwhile was told that nothing was done.
            for unit, done in [item for item in waiting if _begins(item[1])]:
                mark, savepoint = batch.mark(), connection.begin_nested()
                try:
                    result = unit(batch)
                except Exception as error:
                    if isinstance(error, DBAPIError) and not isinstance(error, DataError | IntegrityError):
                        raise
                    savepoint.rollback()
                    batch.back_to(mark)
                    answers.append((done, _own(error)))
                else:
                    savepoint.commit()
                    answers.append((done, result))
            self._flush(batch)
            _finish(connection, transaction)
        self._head, self._head_known = batch.head, True
        self._keep_for_sinks(batch.records)
        # A sink that fails now is found by the next batch, which is refused until it works again: the store has
        # these records already, so they are not lost and this batch may be answered.
        with suppress(Exception):
            self._send_unsent()
        return answers

    def _flush(self, batch: Batch) -> None:
        if batch.records:
            batch.connection.execute(insert(audit), [_row(r) for r in batch.records])
        if batch.lines:
            batch.connection.execute(insert(lines_table), batch.lines)
        if batch.events:
            if self._engine.dialect.name == "postgresql":
                batch.connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _EVENT_LOCK})
            batch.connection.execute(insert(events), batch.events)

    def _keep_for_sinks(self, records: list[AuditRecord]) -> None:
        for _, unsent in self._unsent:
            unsent += records

    def _send_unsent(self) -> None:
        for sink, unsent in self._unsent:
            if unsent:
                sink.write(unsent)
                unsent.clear()  # at once: a sink after it that fails must not bring it the same ones again

    def _find_head(self, connection: Connection) -> Head:
        """The end of this writer's chain. A commit whose end nobody saw may have been written: the sinks get it now."""
        if self._head and self._head_known:
            return self._head
        mine = select(audit).where(audit.c.writer == self._writer).order_by(audit.c.seq)
        if self._head:
            since = connection.execute(mine.where(audit.c.seq > self._head.seq)).mappings()
            self._keep_for_sinks([record_of(row) for row in since])
        last = connection.execute(mine.order_by(None).order_by(audit.c.seq.desc()).limit(1)).first()
        self._head = Head(self._writer, last.seq, last.hash) if last else Head(self._writer)
        return self._head


def _own(error: Exception) -> Exception:
    """What a unit is told of its own failure, which is not its neighbours'."""
    match error:
        case _ if _of_the_values(error):
            return Refused(Code.BAD_INPUT, 422, NOT_STORABLE)
        case IntegrityError():
            return Conflict("it is there already")
        case _:
            return error


def _of_the_values(error: Exception) -> bool:
    """Whether one of the values cannot be kept."""
    return isinstance(error, DataError | UnicodeError | OverflowError)


def _of_the_group(error: Exception) -> bool:
    """Whether one by one they can be written, apart from the one with the fault."""
    return _of_the_values(error) or (isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", "") == DEADLOCK)


def _begins(done: Future[Any]) -> bool:
    """Whether somebody waits for it still; from then on they wait to its end."""
    return done.running() or (not done.cancelled() and done.set_running_or_notify_cancel())


def _finish(connection: Connection, transaction: Transaction) -> None:
    try:
        transaction.commit()
    except Exception as error:
        connection.invalidate()  # else it goes back to the pool with its transaction open, and its locks
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            # The database may have written it before it went away.
            raise Unavailable(Code.STORE_UNAVAILABLE, UNSURE) from None
        raise


def record_of(row: RowMapping) -> AuditRecord:
    """The record that stands in a row of `audit`."""
    return AuditRecord(**{**row, "at_ns": str(row["at_ns"]), "body": json.loads(row["body"])})


def _row(record: AuditRecord) -> dict[str, Any]:
    row = record.model_dump()
    return {**row, "at_ns": int(row["at_ns"]), "body": rfc8785.dumps(row["body"]).decode()}


def prepare_sqlite(engine: Engine) -> None:
    """WAL, an fsync at every commit, and transactions that take the write lock at once."""

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=3000", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        mode = connection.get_execution_options().get("opsgate_mode", "IMMEDIATE")
        connection.exec_driver_sql(f"BEGIN {mode}")
