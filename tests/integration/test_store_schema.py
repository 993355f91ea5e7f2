"""The schema: what the migrations make is what the code means, from an empty database and from one of step 1's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext

from gateway.domain.audit_chain import Head, link
from gateway.domain.invocation import Invocation
from gateway.domain.ports import LogRow
from gateway.infra.store import migrate
from gateway.infra.store.tables import metadata
from opsgate.audit import verify
from opsgate.contracts.invocations import State
from tests.integration.stores import T0, Place, asked, audit_of, entry, invocation, moved, queued
from tests.rig.servers import GATEWAY_ROLE

NEW_IN_0002 = ("ticket", "incident", "touches", "actors", "scopes", "mfa_at_ns", "hint", "would_pass")
LOCK = "production/api-service"


def differences(place: Place) -> list[Any]:
    """Between the database and what the code means, in tables, columns, types, defaults and indexes."""
    options = {"compare_type": True, "compare_server_default": default_differs}
    with place.connected() as connection:
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


def default_differs(*given: Any) -> bool | None:
    """None: as Alembic sees it, which takes an empty text for a difference in SQLite."""
    _, _, _, found, _, meant = given
    return False if (found, meant) == ("('')", "") else None


def of_the_first_schema(inv: Invocation) -> dict[str, Any]:
    """The row as the first release wrote it."""
    doc = {name: value for name, value in inv.model_dump(mode="json", by_alias=True).items() if name not in NEW_IN_0002}
    if doc["job"]:
        del doc["job"]["start_by_ns"]
    columns = ("id", "version", "command", "service", "environment", "asked_by", "created_ns")
    row = {name: getattr(inv, name) for name in columns}
    return {**row, "state": inv.state.value, "channel": "", "private": False, "look_ns": T0, "doc": json.dumps(doc)}


def first_release(place: Place, made: list[Invocation]) -> None:
    """A database of the first release with these Invocations in it, one record of each, and a little of all else."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    with place.connected() as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    head = Head("gateway-1")
    for inv in made:
        add(place, "invocations", of_the_first_schema(inv))
        record = link(head, entry(inv.id, text="deploy €"))
        head = Head(record.writer, record.seq, record.hash)
        body = json.dumps(record.body, ensure_ascii=False, separators=(",", ":"))
        add(place, "audit", {**record.model_dump(), "at_ns": int(record.at_ns), "body": body})
        span = {"first_line": 0, "last_line": 0}
        add(place, "events", {"at_ns": T0, "type": "invocation", "invocation_id": inv.id, **span})
    add(place, "lines", {"invocation_id": made[0].id, "seq": 1, "at_ns": T0, "text": "one"})
    add(place, "locks", {"name": LOCK, "invocation_id": made[-1].id, "since_ns": T0})
    add(place, "outbox", {"job": made[-1].id, "binding_hash": "h", "traceparent": "", "due_ns": T0})


def add(place: Place, table: str, row: dict[str, Any]) -> None:
    place.sql(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)})", **row)


async def test_the_migrations_make_what_the_code_means(bare: Place) -> None:
    """From nothing, and again without harm."""
    assert not migrate.is_current(bare.owner)
    migrate.upgrade(bare.owner, GATEWAY_ROLE)
    migrate.upgrade(bare.owner, GATEWAY_ROLE)
    assert differences(bare) == []
    assert migrate.is_current(bare.url)


def test_a_difference_would_be_seen(place: Place) -> None:
    """The comparison is not blind: a missing index, a column too many."""
    place.sql("DROP INDEX invocations_state")
    place.sql("ALTER TABLE codes ADD COLUMN secret TEXT")
    assert {found[0] for found in differences(place)} == {"add_index", "remove_column"}


async def test_a_database_of_the_first_release_goes_on_with_all_that_is_in_it(bare: Place) -> None:
    """What waited waits, what was recorded holds, and the chain goes on where it was."""
    made = [invocation(1), queued(2)]
    first_release(bare, made)
    assert not migrate.is_current(bare.owner)
    migrate.upgrade(bare.owner, GATEWAY_ROLE)
    assert differences(bare) == []
    store = bare.store("gateway-1")
    assert [await store.invocation(inv.id) for inv in made] == made
    assert await store.lines(made[0].id, 0, 10) == [LogRow(1, T0, "one")]
    assert [wake.job for wake in await store.due(T0, 1, 10)] == [made[1].id]
    assert [e.invocation for e in await store.events(0, 10)] == made
    await store.apply(moved(made[0], State.CANCELLED))
    await store.apply(asked(invocation(3)))
    report = verify(await audit_of(store))
    assert (report.ok, report.count) == (True, 4)
    assert [f.recent.pending_by_subject for f in await store.facts([queued(9)], T0)] == [1]
    assert bare.sql("SELECT name FROM locks") == [(LOCK,)]
    store.close()


@pytest.mark.parametrize("bare", ["sqlite"], indirect=True)
async def test_an_audit_log_of_the_first_release_stays_append_only(bare: Place) -> None:
    """Rebuilding a table would lose its triggers."""
    first_release(bare, [invocation(1)])
    migrate.upgrade(bare.owner)
    found = {row[0] for row in bare.sql("SELECT name FROM sqlite_master WHERE type = 'trigger'")}
    assert found == {"audit_no_update", "audit_no_delete", "audit_no_replace"}
