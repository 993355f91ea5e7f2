"""The Store port on SQLAlchemy Core. Writes go through the Committer; reads run in threads on their own connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Table, and_, create_engine, delete, func, insert, or_, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, SQLAlchemyError

from gateway.domain.errors import Conflict, KeyTaken, LockHeld, Refused, Unavailable
from gateway.domain.invocation import NS, Invocation
from gateway.domain.lifecycle import FINAL
from gateway.domain.people import Code as OneTimeCode
from gateway.domain.people import Credential, Delegation, Link, People, Review
from gateway.domain.ports import Change, EventRow, FactRow, LogRow, Once, Query, Sink, Wake
from gateway.infra.store import people
from gateway.infra.store import tables as t
from gateway.infra.store.committer import NOT_STORABLE, STORE_GONE, Batch, Committer, prepare_sqlite, record_of
from gateway.infra.store.questions import events, facts, same
from opsgate.contracts.audit import AuditRecord
from opsgate.contracts.invocations import State
from opsgate.contracts.jobs import OperationOffer
from opsgate.contracts.problems import Code

T = TypeVar("T")
READ_DEADLINE_S = 5.0
VOTES_LOOKED_AT = 1_000
"""How many of a person's newest votes are looked through for what they decided."""
QUEUED_LOOK_NS = 15 * NS
"""A queued Job that nobody claimed for this long is woken again: the broker may have lost the message."""


class SqlStore:
    """See `gateway.domain.ports.Store`."""

    def __init__(self, url: str, writer: str, sinks: list[Sink], deadline_s: float = 5.0) -> None:
        self._engine = make_engine(url)
        self._committer = Committer(self._engine, writer, sinks, deadline_s)
        upsert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        self._insert: Any = upsert

    def close(self) -> None:
        self._committer.close()
        self._engine.dispose()

    # ---- writing ----------------------------------------------------------------------------------------------

    async def apply(self, change: Change) -> None:
        await self._committer.commit(lambda batch: self._apply(batch, change))

    def _apply(self, batch: Batch, change: Change) -> None:
        connection, inv = batch.connection, change.invocation
        at_ns = change.entries[0].at_ns if change.entries else inv.updated_ns if inv else 0
        if change.once:
            self._take_key(connection, change.once, at_ns)
        if inv:
            self._write_invocation(connection, inv, change.expected)
            for name in change.take:
                self._take_lock(connection, name, inv.id, at_ns)
            if change.free:
                mine = and_(t.locks.c.name.in_(change.free), t.locks.c.invocation_id == inv.id)
                connection.execute(delete(t.locks).where(mine))
            if change.wake_ns is not None:
                row = {"job": inv.id, "binding_hash": inv.binding_hash, "traceparent": inv.traceparent}
                connection.execute(insert(t.outbox), {**row, "due_ns": change.wake_ns})
            first = inv.log_lines - len(change.lines) + 1
            batch.lines += [
                {"invocation_id": inv.id, "seq": first + n, "at_ns": at_ns, "text": line}
                for n, line in enumerate(change.lines)
            ]
            if change.lines:
                batch.event(inv, "log", at_ns, first, inv.log_lines)
            batch.event(inv, "invocation", at_ns)
        if change.decisions:
            connection.execute(insert(t.decisions), [_decision_row(d) for d in change.decisions])
        if change.freeze:
            row = change.freeze.model_dump()
            write = self._insert(t.freezes).values(**row)
            connection.execute(write.on_conflict_do_update(index_elements=["scope"], set_=row))
        if change.lift is not None:
            connection.execute(delete(t.freezes).where(t.freezes.c.scope == change.lift))
        for given in change.people:
            people.write(connection, self._insert, given)
        if change.notice:
            batch.notice(change.notice, at_ns)
        for entry in change.entries:
            batch.record(entry)
        if change.also:
            self._apply(batch, change.also)

    def _write_invocation(self, connection: Connection, inv: Invocation, expected: int | None) -> None:
        row = _invocation_row(inv)
        if expected is None:
            connection.execute(insert(t.invocations), row)
            return
        where = and_(t.invocations.c.id == inv.id, t.invocations.c.version == expected)
        if connection.execute(update(t.invocations).where(where).values(**row)).rowcount != 1:
            raise Conflict(inv.id)

    def _take_key(self, connection: Connection, once: Once, at_ns: int) -> None:
        if not self._is_new(connection, t.once, {**once.__dict__, "at_ns": at_ns}):
            raise KeyTaken(once.key)

    def _take_lock(self, connection: Connection, name: str, invocation_id: str, at_ns: int) -> None:
        if self._is_new(connection, t.locks, {"name": name, "invocation_id": invocation_id, "since_ns": at_ns}):
            return
        holder = connection.scalar(select(t.locks.c.invocation_id).where(t.locks.c.name == name))
        if holder is None:  # freed this very moment
            raise Conflict(name)
        if holder != invocation_id:
            raise LockHeld(name, holder)

    def _is_new(self, connection: Connection, table: Table, row: dict[str, Any]) -> bool:
        """Writes the row unless its key is there already; says whether it did. A rowcount is not known for inserts."""
        write = self._insert(table).values(**row).on_conflict_do_nothing().returning(*table.primary_key)
        return connection.execute(write).first() is not None

    async def due(self, now_ns: int, hold_ns: int, limit: int) -> list[Wake]:
        """Takes due rows and hides them for `hold_ns`, so that two relays do not publish the same one."""

        def unit(batch: Batch) -> list[Wake]:
            pick = select(t.outbox).where(t.outbox.c.due_ns <= now_ns).order_by(t.outbox.c.due_ns).limit(limit)
            rows = batch.connection.execute(pick.with_for_update(skip_locked=True)).all()
            if rows:
                hide = update(t.outbox).where(t.outbox.c.id.in_([r.id for r in rows]))
                batch.connection.execute(hide.values(due_ns=now_ns + hold_ns))
            return [Wake(r.id, r.job, r.binding_hash, r.traceparent) for r in rows]

        waiting = await self._read(
            lambda c: c.scalar(select(t.outbox.c.id).where(t.outbox.c.due_ns <= now_ns).limit(1))
        )
        if waiting is None:
            return []  # looking costs no write lock
        taken: list[Wake] = await self._committer.commit(unit)
        return taken

    async def published(self, ids: Sequence[int]) -> None:
        await self._committer.commit(lambda b: b.connection.execute(delete(t.outbox).where(t.outbox.c.id.in_(ids))))

    async def announce(self, worker: str, offers: Sequence[OperationOffer], now_ns: int) -> None:
        rows = [{"operation": o.name, "seen_ns": now_ns, "doc": o.model_dump_json()} for o in offers]

        def unit(batch: Batch) -> None:
            for row in rows:
                write = self._insert(t.offers).values(**row)
                batch.connection.execute(write.on_conflict_do_update(index_elements=["operation"], set_=row))

        await self._committer.commit(unit)

    async def unsent(self, jobs: Sequence[str]) -> set[str]:
        pick = select(t.outbox.c.job).where(t.outbox.c.job.in_(jobs))
        return set(await self._read(lambda c: c.scalars(pick).all()))

    # ---- reading ----------------------------------------------------------------------------------------------

    async def _read(self, question: Callable[[Connection], T]) -> T:
        def ask() -> T:
            with self._engine.connect().execution_options(opsgate_mode="DEFERRED") as connection:
                return question(connection)

        try:
            return await asyncio.wait_for(asyncio.to_thread(ask), READ_DEADLINE_S)
        except (DataError, OverflowError):
            raise Refused(Code.BAD_INPUT, 422, NOT_STORABLE) from None
        except (SQLAlchemyError, TimeoutError):
            raise Unavailable(Code.STORE_UNAVAILABLE, STORE_GONE) from None

    async def alive(self) -> None:
        self._committer.check()  # a database that is locked or full can still be read
        await self._read(lambda c: c.execute(text("SELECT 1")))

    async def invocation(self, invocation_id: str) -> Invocation | None:
        doc = await self._read(
            lambda c: c.scalar(select(t.invocations.c.doc).where(t.invocations.c.id == invocation_id))
        )
        return Invocation.model_validate_json(doc) if doc else None

    async def invocations(self, query: Query) -> list[Invocation]:
        c = t.invocations.c
        pick = select(c.doc).order_by(c.created_ns.desc(), c.id.desc()).limit(query.limit)
        wanted = {c.state: query.state, c.service: query.service, c.channel: query.channel, c.asked_by: query.asked_by}
        for column, value in wanted.items():
            if value is not None:
                pick = pick.where(column == value)
        if query.viewer is not None:
            pick = pick.where(or_(c.private.is_(False), c.asked_by == query.viewer))
        if query.before:
            pick = pick.where(_older(query.before))
        rows = await self._read(lambda connection: connection.scalars(pick).all())
        return [Invocation.model_validate_json(doc) for doc in rows]

    async def voted(self, person: str, before: tuple[int, str] | None, limit: int) -> list[Invocation]:
        # The audit log knows who voted, by an index; the documents only say it inside.
        a, c = t.audit.c, t.invocations.c
        votes = select(a.invocation_id).where(a.actor == person, a.kind.in_(("vote.approve", "vote.reject")))
        about = votes.order_by(a.at_ns.desc()).limit(VOTES_LOOKED_AT).scalar_subquery()
        pick = select(c.doc).where(c.id.in_(about)).order_by(c.created_ns.desc(), c.id.desc()).limit(limit)
        if before:
            pick = pick.where(_older(before))
        rows = await self._read(lambda connection: connection.scalars(pick).all())
        return [Invocation.model_validate_json(doc) for doc in rows]

    async def once(self, scope: str, key: str) -> Once | None:
        pick = select(t.once).where(t.once.c.scope == scope, t.once.c.key == key)
        row = await self._read(lambda c: c.execute(pick).first())
        return Once(row.scope, row.key, row.fingerprint, row.status, row.answer) if row else None

    async def lines(self, invocation_id: str, after: int, limit: int) -> list[LogRow]:
        c = t.lines.c
        pick = select(c.seq, c.at_ns, c.text).where(c.invocation_id == invocation_id, c.seq > after)
        rows = await self._read(lambda connection: connection.execute(pick.order_by(c.seq).limit(limit)).all())
        return [LogRow(r.seq, r.at_ns, r.text) for r in rows]

    async def audit(self, writer: str | None, after: tuple[str, int], limit: int) -> list[AuditRecord]:
        c = t.audit.c
        beyond = or_(c.writer > after[0], and_(c.writer == after[0], c.seq > after[1]))
        pick = select(t.audit).where(beyond).order_by(c.writer, c.seq).limit(limit)
        if writer is not None:
            pick = pick.where(c.writer == writer)
        rows = await self._read(lambda connection: connection.execute(pick).mappings().all())
        return [record_of(row) for row in rows]

    async def facts(self, about: Sequence[Invocation], now_ns: int) -> list[FactRow]:
        return await self._read(lambda connection: facts(connection, about, now_ns))

    async def waiting(self, limit: int) -> list[Invocation]:
        c = t.invocations.c
        pick = select(c.doc).where(c.state == State.PENDING).order_by(c.created_ns).limit(limit)
        rows = await self._read(lambda connection: connection.scalars(pick).all())
        return [Invocation.model_validate_json(doc) for doc in rows]

    # ---- people -----------------------------------------------------------------------------------------------

    async def people(self) -> People:
        return await self._read(people.snapshot)

    async def people_version(self) -> int:
        return await self._read(people.version)

    async def links(self, person: str) -> list[Link]:
        return await self._read(lambda connection: people.links(connection, person))

    async def delegations(self, person: str, limit: int) -> list[Delegation]:
        return await self._read(lambda connection: people.delegations(connection, person, limit))

    async def credential(self, digest: str) -> Credential | None:
        return await self._read(lambda connection: people.credential(connection, digest))

    async def credentials(self, accounts: Sequence[str]) -> list[Credential]:
        return await self._read(lambda connection: people.credentials(connection, accounts))

    async def code(self, digest: str) -> OneTimeCode | None:
        return await self._read(lambda connection: people.code(connection, digest))

    async def forget(self, codes_ns: int, sessions_ns: int, most: int) -> None:
        if await self._read(lambda connection: people.is_any_over(connection, codes_ns, sessions_ns)):
            await self._committer.commit(lambda b: people.forget(b.connection, codes_ns, sessions_ns, most))

    async def reviews(self, open_only: bool, limit: int) -> list[Review]:
        return await self._read(lambda connection: people.reviews(connection, open_only, limit))

    async def overdue(self, now_ns: int, limit: int) -> list[Invocation]:
        c = t.invocations.c
        pick = select(c.doc).where(c.look_ns <= now_ns).order_by(c.look_ns).limit(limit)
        rows = await self._read(lambda connection: connection.scalars(pick).all())
        return [Invocation.model_validate_json(doc) for doc in rows]

    async def offers(self) -> dict[str, tuple[OperationOffer, int]]:
        rows = await self._read(lambda c: c.execute(select(t.offers)).all())
        return {r.operation: (OperationOffer.model_validate_json(r.doc), r.seen_ns) for r in rows}

    async def last_event(self) -> int:
        return await self._read(lambda c: c.scalar(select(func.max(t.events.c.id)))) or 0

    async def events(self, after: int, limit: int) -> list[EventRow]:
        return await self._read(lambda connection: events(connection, after, limit))


def make_engine(url: str) -> Engine:
    """An engine with the durability the store needs. Raises sqlalchemy.exc.ArgumentError on a bad URL."""
    if url.startswith("sqlite"):
        engine = create_engine(url, connect_args={"check_same_thread": False, "timeout": 3})
        prepare_sqlite(engine)
        return engine
    return create_engine(
        url,
        pool_size=6,
        max_overflow=4,
        pool_timeout=3,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 3, "options": "-c statement_timeout=4000 -c lock_timeout=3000"},
    )


def _older(before: tuple[int, str]) -> Any:
    """Whatever comes after this one in a list that is newest first."""
    c, (at_ns, last) = t.invocations.c, before
    return or_(c.created_ns < at_ns, and_(c.created_ns == at_ns, c.id < last))


def look_ns(inv: Invocation) -> int | None:
    """When the reconciler must look at this Invocation."""
    if inv.state in FINAL:
        return None
    if inv.state is State.PENDING or inv.job is None:
        return inv.expires_ns
    if inv.state is State.QUEUED:
        step = 3 * NS if not inv.job.waiting_for else QUEUED_LOOK_NS
        look = max(inv.job.due_ns, inv.updated_ns) + step
        return min(look, inv.job.start_by_ns) if inv.job.start_by_ns else look
    return inv.job.lease_until_ns or inv.job.due_ns + QUEUED_LOOK_NS


def _invocation_row(inv: Invocation) -> dict[str, Any]:
    return {
        "id": inv.id,
        "version": inv.version,
        "state": inv.state.value,
        "command": inv.command,
        "service": inv.service,
        "environment": inv.environment,
        "channel": inv.context.channel,
        "asked_by": inv.asked_by,
        "private": inv.private,
        "same": same(inv),
        "rejected_ns": inv.updated_ns if any(v.verdict == "reject" for v in inv.votes) else 0,
        "created_ns": inv.created_ns,
        "look_ns": look_ns(inv),
        "doc": inv.model_dump_json(by_alias=True),
    }


def _decision_row(record: Any) -> dict[str, Any]:
    row = dict(record.__dict__)
    return {**row, "input": json.dumps(row["input"]), "result": json.dumps(row["result"])}
