"""The audit log in the store: only ever added to, a chain per gateway, in a second place too; tampering is found."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import DBAPIError, ProgrammingError

from gateway.domain.errors import Unavailable
from gateway.domain.ports import Change
from gateway.infra.sinks import make_sinks
from opsgate.audit import Break, read_jsonl, verify
from opsgate.contracts.audit import AuditRecord
from opsgate.contracts.problems import Code
from tests.integration.stores import Place, asked, at_once, audit_of, entry, invocation

SQLITE = pytest.mark.parametrize("place", ["sqlite"], indirect=True)
POSTGRES = pytest.mark.parametrize("place", [pytest.param("postgres", marks=pytest.mark.production)], indirect=True)
TAMPERING = {
    "change": "UPDATE audit SET actor = 'mallory' WHERE seq = 2",
    "delete": "DELETE FROM audit WHERE seq = 2",
    "empty": "DELETE FROM audit",
}


class Memory:
    """A second place that can be out of order: not at all, or in the middle of writing."""

    def __init__(self) -> None:
        self.kept: list[AuditRecord] = []
        self.fault: Exception | None = None

    def write(self, records: list[AuditRecord]) -> None:
        if self.fault:
            raise self.fault
        self.kept += records


async def ten(place: Place, *writers: str) -> None:
    for writer in writers:
        store = place.store(writer)
        await at_once(store, [asked(invocation(n + 10 * writers.index(writer))) for n in range(10)])


# ---- only ever added to ----------------------------------------------------------------------------------------------


@SQLITE
@pytest.mark.parametrize(
    "tampering",
    [*TAMPERING.values(), "INSERT OR REPLACE INTO audit SELECT * FROM audit WHERE seq = 2"],
    ids=[*TAMPERING, "replace"],
)
async def test_on_a_laptop_no_statement_changes_a_record(place: Place, tampering: str) -> None:
    """SQLite has no users; triggers refuse it to whoever asks."""
    await ten(place, "gateway-1")
    with pytest.raises(DBAPIError, match="the audit log is append-only"):
        place.sql(tampering)
    assert (verify(await audit_of(place.open[0])).ok, place.counts()["audit"]) == (True, 10)


@POSTGRES
@pytest.mark.parametrize("table", ["audit", "decisions"])
async def test_in_production_the_gateways_own_account_may_not(place: Place, table: str) -> None:
    """Whoever takes over a gateway cannot take back what it wrote."""
    await ten(place, "gateway-1")
    for statement in ("UPDATE {} SET at_ns = 0", "DELETE FROM {}", "TRUNCATE {}"):
        with pytest.raises(ProgrammingError, match="permission denied for table"):
            place.sql(statement.format(table), owner=False)
    for statement in ("DROP TABLE {}", "ALTER TABLE {} DISABLE TRIGGER ALL"):
        with pytest.raises(ProgrammingError, match="must be owner of table"):
            place.sql(statement.format(table), owner=False)
    assert (verify(await audit_of(place.open[0])).ok, place.counts()["audit"]) == (True, 10)


# ---- chains ----------------------------------------------------------------------------------------------------------


async def test_a_chain_goes_on_after_a_restart(place: Place) -> None:
    """The same node takes up its own end, and the whole holds without the gateway's word for it."""
    for turn in range(3):
        store = place.store("gateway-1")
        await at_once(store, [asked(invocation(10 * turn + n)) for n in range(10)])
        store.close()
    report = verify(await audit_of(place.store("gateway-1")))
    assert report.ok
    assert [(c.writer, c.count, c.last_seq) for c in report.chains] == [("gateway-1", 30, 30)]


async def test_two_gateways_write_two_chains(place: Place) -> None:
    """At the same moment, and neither waits for the other's hash."""
    stores = {name: place.store(name) for name in ("gateway-1", "gateway-2")}
    changes = [[asked(invocation(100 * k + n)) for n in range(20)] for k in range(2)]
    await asyncio.gather(*(at_once(store, mine) for store, mine in zip(stores.values(), changes, strict=True)))
    records = await audit_of(stores["gateway-1"])
    report = verify(records)
    assert report.ok
    assert [(c.writer, c.count) for c in report.chains] == [("gateway-1", 20), ("gateway-2", 20)]
    assert await audit_of(stores["gateway-1"], "gateway-2") == records[20:]


async def test_two_processes_of_one_name_do_not_fork_the_chain(place: Place) -> None:
    """The second finds that the end has moved: it refuses what it was asked, and goes on from the real end."""
    first, second = place.store("gateway-1"), place.store("gateway-1")
    await first.apply(asked(invocation(1)))
    await second.apply(asked(invocation(2)))
    with pytest.raises(Unavailable, match="nothing was done"):
        await first.apply(asked(invocation(3)))
    await first.apply(asked(invocation(3)))
    report = verify(await audit_of(first))
    assert (report.ok, report.count, place.counts()["invocations"]) == (True, 3, 3)


@pytest.mark.parametrize(
    ("tampering", "found"),
    [
        (
            "UPDATE audit SET body = replace(body, '5', '6') WHERE writer = 'gateway-1' AND seq = 5",
            (5, "hash_mismatch"),
        ),
        ("UPDATE audit SET actor = 'mallory' WHERE writer = 'gateway-1' AND seq = 7", (7, "hash_mismatch")),
        ("UPDATE audit SET at_ns = at_ns + 1 WHERE writer = 'gateway-1' AND seq = 2", (2, "hash_mismatch")),
        ("DELETE FROM audit WHERE writer = 'gateway-1' AND seq = 4", (5, "gap")),
        ("DELETE FROM audit WHERE writer = 'gateway-1' AND seq = 1", (2, "gap")),
        ("UPDATE audit SET seq = 99 WHERE writer = 'gateway-1' AND seq = 3", (4, "gap")),
    ],
)
async def test_what_an_owner_of_the_database_changed_is_found_and_located(
    place: Place, tampering: str, found: tuple[int, str]
) -> None:
    """One byte, or a row that is gone; the other gateway's chain still holds."""
    stores = [place.store(name) for name in ("gateway-1", "gateway-2")]
    for store in stores:
        for n in range(1, 9):
            await store.apply(Change((entry(kind="said", number=n),)))
    if place.name == "sqlite":
        for trigger in ("update", "delete", "replace"):
            place.sql(f"DROP TRIGGER audit_no_{trigger}")
    place.sql(tampering)
    one, two = verify(await audit_of(stores[0])).chains
    assert isinstance(one.broken, Break)
    assert (one.broken.seq, one.broken.why) == found
    assert (two.broken, two.count) == (None, 8)


# ---- the second place ------------------------------------------------------------------------------------------------


async def test_every_record_goes_to_the_second_place_in_order(place: Place, tmp_path: Path) -> None:
    """A file of JSON lines, which holds by itself."""
    [sink] = make_sinks(str(tmp_path / "audit.jsonl"))
    store = place.store("gateway-1", sink)
    await at_once(store, [asked(invocation(n)) for n in range(30)])
    store.close()
    with (tmp_path / "audit.jsonl").open("rb") as lines:
        written = list(read_jsonl(lines))
    assert written == await audit_of(place.store("gateway-2"))
    assert verify(written).ok


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), ValueError("closed")])
async def test_nothing_is_taken_while_the_second_place_fails_and_then_it_gets_all(
    place: Place, fault: Exception
) -> None:
    """What stands in the store already is answered; what comes after it is refused, until all is in both."""
    good, bad = Memory(), Memory()
    store = place.store("gateway-1", good, bad)
    await store.apply(asked(invocation(1)))
    bad.fault = fault
    await store.apply(asked(invocation(2)))  # nobody knew yet
    before = place.counts()
    for _ in range(3):
        answers = await at_once(store, [asked(invocation(n)) for n in range(3, 9)])
        assert [getattr(answer, "code", None) for answer in answers] == [Code.AUDIT_UNAVAILABLE] * 6
    with pytest.raises(Unavailable) as told:
        await store.alive()
    assert told.value.code is Code.AUDIT_UNAVAILABLE
    assert place.counts() == before
    bad.fault = None
    assert await at_once(store, [asked(invocation(n)) for n in range(3, 9)]) == [None] * 6
    await store.alive()
    assert bad.kept == good.kept == await audit_of(store)
    assert verify(bad.kept).ok


@pytest.mark.parametrize("written", [True, False])
async def test_a_commit_whose_end_nobody_saw_is_in_the_second_place_if_it_was_written(
    place: Place, written: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database went away in the middle: the next batch looks, and leaves out or doubles nothing."""
    sink = Memory()
    store = place.store("gateway-1", sink)
    await store.apply(asked(invocation(1)))

    def goes_away(_: object, connection: Any) -> None:
        if written:
            connection.dbapi_connection.commit()
        connection.dbapi_connection.close()
        connection.dbapi_connection.commit()  # raises what this database's driver raises

    with monkeypatch.context() as patch:
        patch.setattr(DefaultDialect, "do_commit", goes_away)
        with pytest.raises(Unavailable, match="not known whether this was taken"):
            await store.apply(asked(invocation(2)))
    assert place.counts()["invocations"] == (2 if written else 1)
    await store.apply(asked(invocation(3)))
    assert sink.kept == await audit_of(store)
    assert verify(sink.kept).ok
