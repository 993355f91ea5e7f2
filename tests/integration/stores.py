"""What the tests of the store share: a database on each engine, made cheaply, and the records that are written to it.

Refuses to reach into the store: what is in it is read through its own port, or in SQL as an operator would.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from sqlalchemy import Connection, Engine, event, text

from gateway.domain.audit_chain import Entry
from gateway.domain.invocation import NS, Invocation, Job
from gateway.domain.ports import Change, Sink
from gateway.infra.store import migrate
from gateway.infra.store.store import SqlStore, make_engine
from opsgate.contracts.audit import AuditRecord
from opsgate.contracts.base import Assurance, Effect, PrincipalKind
from opsgate.contracts.decisions import Decision, NextAction, Verdict
from opsgate.contracts.invocations import ChatContext, State
from tests.rig.servers import GATEWAY_ROLE, OWNER, Postgres

T0 = 1_772_443_800 * NS
"""When it is, in these tests: nothing here looks at a clock."""
DIGEST = "sha256:" + "a" * 64
ROWS = ("invocations", "audit", "decisions", "outbox", "events", "lines", "once", "locks", "freezes")
"""What one Change may write to: all of it or nothing."""


@dataclass
class Place:
    """One database and the gateways that write to it. `url`: as a gateway reaches it; `owner`: as who migrates does."""

    name: str
    url: str
    owner: str
    open: list[SqlStore] = field(default_factory=list)

    def store(self, writer: str = "gateway-1", *sinks: Sink, deadline_s: float = 5.0) -> SqlStore:
        """A gateway's store, closed at the end of the test."""
        self.open.append(SqlStore(self.url, writer, list(sinks), deadline_s))
        return self.open[-1]

    def sql(self, statement: str, owner: bool = True, **values: Any) -> list[tuple[Any, ...]]:
        """Past the store; in PostgreSQL as the owner, else as the gateway's own user."""
        with self.connected(owner) as connection, connection.begin():
            found = connection.execute(text(statement), values)
            return [tuple(row) for row in found] if found.returns_rows else []

    @contextmanager
    def connected(self, owner: bool = True) -> Iterator[Connection]:
        engine = make_engine(self.owner if owner else self.url)
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()

    def counts(self) -> dict[str, int]:
        """How many rows stand in each table that a Change writes to."""
        rows = self.sql(" UNION ALL ".join(f"SELECT '{t}', count(*) FROM {t}" for t in ROWS))
        return {str(table): int(count) for table, count in rows}

    def close(self) -> None:
        for store in self.open:
            store.close()


def empty_sqlite(folder: Path) -> Path:
    """A file with this version's schema and nothing in it, to copy."""
    migrate.upgrade(f"sqlite:///{folder / 'empty.db'}")
    return folder / "empty.db"


def sqlite_place(folder: Path, empty: Path | None) -> Place:
    """`empty` None: without any schema."""
    if empty:
        shutil.copy(empty, folder / "opsgate.db")
    url = f"sqlite:///{folder / 'opsgate.db'}"
    return Place("sqlite", url, url)


def empty_postgres(server: Postgres) -> str:
    """The name of a database with this version's schema and the gateway's grants, to copy."""
    name = f"empty_{uuid4().hex[:8]}"
    server.create(name)
    migrate.upgrade(server.url(name, OWNER), GATEWAY_ROLE)
    return name


def postgres_place(server: Postgres, empty: str | None) -> Place:
    """`empty` None: without any schema."""
    name = f"store_{uuid4().hex[:8]}"
    if empty is None:
        server.create(name)
    else:
        with psycopg.connect(server.url("postgres", "opsgate_super", "postgresql"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {empty} OWNER {OWNER}".encode())
    return Place("postgres", server.url(name), server.url(name, OWNER))


@contextmanager
def held(place: Place) -> Iterator[None]:
    """Somebody else holds what every write needs."""
    if place.name == "sqlite":
        with closing(sqlite3.connect(place.url.removeprefix("sqlite:///"), isolation_level=None)) as rival:
            rival.execute("BEGIN IMMEDIATE")
            yield
    else:
        with place.connected() as owner, owner.begin():
            owner.execute(text("LOCK TABLE invocations IN EXCLUSIVE MODE"))
            yield


# ---- what is written -------------------------------------------------------------------------------------------------


def invocation(number: int = 1, state: State = State.PENDING, **fields: Any) -> Invocation:
    """The `number`th asking, a nanosecond after the one before."""
    at_ns = T0 + number
    values: dict[str, Any] = {
        "id": f"inv_{number:04}",
        "tenant": "acme",
        "version": 1,
        "state": state,
        "text": "deploy production api-service",
        "command": "deploy",
        "effect": Effect.WRITE,
        "args": {"service": "api-service", "environment": "production"},
        "spelled": {},
        "service": "api-service",
        "environment": "production",
        "operation": "sandbox.deploy",
        "input": {},
        "lock": "production/api-service",
        "timeout_s": 600,
        "irreversible": False,
        "idempotent": True,
        "reason": "",
        "asked_by": "alice",
        "asked_by_name": "Alice",
        "asked_by_kind": PrincipalKind.HUMAN,
        "assurance": Assurance.OIDC,
        "method": "token",
        "adapter": "",
        "platform": "rest",
        "context": ChatContext(),
        "created_ns": at_ns,
        "updated_ns": at_ns,
        "expires_ns": at_ns + 1800 * NS,
        "binding_hash": DIGEST,
        "requirement_digest": DIGEST,
        "decision": Decision(
            id=f"dec_{number:04}",
            effect=Verdict.PENDING,
            phase="request",
            request_hash=DIGEST,
            input_digest=DIGEST,
            revision="r1",
            evaluated_at=datetime.fromtimestamp(at_ns // NS, UTC),
            next_action=NextAction.APPROVE,
        ),
    }
    return Invocation(**{**values, **fields})


def queued(number: int = 1) -> Invocation:
    return invocation(number, State.QUEUED, job=Job(queued_ns=T0 + number, due_ns=T0 + number))


def entry(about: str = "", kind: str = "asked", **body: Any) -> Entry:
    return Entry(kind, about, "alice", T0, body)


def asked(inv: Invocation, **more: Any) -> Change:
    """A new Invocation with its audit record."""
    return Change((entry(inv.id),), invocation=inv, **more)


def moved(inv: Invocation, state: State = State.QUEUED, **more: Any) -> Change:
    """The next version of an Invocation that is in the store."""
    return Change((entry(inv.id, "moved"),), invocation=inv.changed(T0, state=state), expected=inv.version, **more)


async def at_once(store: SqlStore, changes: Sequence[Change]) -> list[BaseException | None]:
    """All of them by callers of the same moment; what each was told, None being yes."""
    return await asyncio.gather(*(store.apply(change) for change in changes), return_exceptions=True)


async def audit_of(store: SqlStore, writer: str | None = None) -> list[AuditRecord]:
    return await store.audit(writer, ("", 0), 10_000)


@contextmanager
def watched(name: str) -> Iterator[list[Connection]]:
    """Every SQLAlchemy event of this name, from any engine."""
    seen: list[Connection] = []

    def note(connection: Connection, *_: Any) -> None:
        seen.append(connection)

    event.listen(Engine, name, note)
    try:
        yield seen
    finally:
        event.remove(Engine, name, note)
