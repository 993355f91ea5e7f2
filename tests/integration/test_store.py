"""The store on both of its engines: what is written together, who wins, and what is told when it cannot be written."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.engine.default import DefaultDialect

from gateway.domain.errors import Conflict, KeyTaken, LockHeld, Refused, Unavailable
from gateway.domain.people import Code as OneTimeCode
from gateway.domain.people import UseCode
from gateway.domain.ports import Change, DecisionRecord, Notice, Once
from opsgate.audit import verify
from opsgate.contracts.invocations import State
from opsgate.contracts.policy import Freeze
from opsgate.contracts.problems import Code
from tests.integration.stores import (
    ROWS,
    T0,
    Place,
    asked,
    at_once,
    audit_of,
    entry,
    held,
    invocation,
    moved,
    queued,
    watched,
)

LOCK = "production/api-service"
BIG = 2**70
"""More than a column of 64 bits can keep."""


def everything(number: int = 1, **more: Any) -> Change:
    """A Change that writes to each table it can."""
    inv = queued(number).model_copy(update={"log_lines": 2})
    decision = DecisionRecord(f"dec_{number:04}", inv.id, T0, {"a": 1}, {"effect": "allow"}, "r1", 900)
    return Change(
        entries=(entry(inv.id, "asked"), entry(inv.id, "queued")),
        invocation=inv,
        decisions=(decision,),
        wake_ns=T0,
        lines=("one", "two"),
        once=Once("alice /v1/messages", f"key-{number}", "f", 202, "{}"),
        take=(f"target-{number}",),
        freeze=Freeze(scope=f"scope-{number}", reason="-", by="carol", from_ns=T0, until_ns=0),
        notice=Notice("slack", "ops", "Look here"),
        **more,
    )


WRITTEN = {t: {"audit": 2, "lines": 2, "events": 3}.get(t, 1) for t in ROWS}
NOTHING = dict.fromkeys(ROWS, 0)


@contextmanager
def slow_disk() -> Iterator[tuple[threading.Event, threading.Event]]:
    """A commit waits, from when the first event is set, until the second is."""
    reached, go = threading.Event(), threading.Event()

    def wait(_: Connection) -> None:
        reached.set()
        assert go.wait(10)

    event.listen(Engine, "commit", wait)
    try:
        yield reached, go
    finally:
        go.set()
        event.remove(Engine, "commit", wait)


# ---- group commit ----------------------------------------------------------------------------------------------------


async def test_many_who_write_at_once_share_few_transactions(place: Place) -> None:
    """One fsync serves many: the disk is the slow part."""
    store = place.store()
    await store.apply(asked(invocation(0)))
    with watched("commit") as commits:
        assert await at_once(store, [asked(invocation(n)) for n in range(1, 101)]) == [None] * 100
    assert len(commits) <= 100 // 10
    assert place.counts()["invocations"] == 101


async def test_nobody_is_answered_before_the_commit(place: Place) -> None:
    """Whoever was told yes may lose power the next moment."""
    store = place.store()
    with slow_disk() as (reached, go):
        callers = [asyncio.create_task(store.apply(asked(invocation(n)))) for n in range(5)]
        assert await asyncio.to_thread(reached.wait, 10)
        done, _ = await asyncio.wait(callers, timeout=0.2)
        assert not done
        assert await store.invocation("inv_0000") is None  # another connection does not see it either
        go.set()
        await asyncio.gather(*callers)
    assert place.counts()["invocations"] == 5


async def test_the_loop_goes_on_while_the_disk_is_slow(place: Place) -> None:
    """Writing has a thread of its own."""
    store = place.store()
    with slow_disk() as (reached, go):
        caller = asyncio.create_task(store.apply(asked(invocation())))
        assert await asyncio.to_thread(reached.wait, 10)
        assert [await store.last_event() for _ in range(20)] == [0] * 20
        go.set()
        await caller


async def test_one_that_fails_in_a_group_takes_back_its_own_part_only(place: Place) -> None:
    """The neighbours are written, and the audit chain has no hole where it was."""
    store = place.store()
    await store.apply(everything(0))
    changes = [asked(invocation(n)) for n in range(1, 30)]
    for n in (5, 6, 17):
        changes[n] = everything(100 + n, people=(UseCode("never made", T0),))
    answers = await at_once(store, changes)
    assert [n for n, answer in enumerate(answers) if answer] == [5, 6, 17]
    counts = place.counts()
    assert counts == WRITTEN | {"invocations": 27, "audit": 2 + 26, "events": 3 + 26}
    records = await audit_of(store)
    assert verify(records).ok
    assert len(records) == counts["audit"]


@pytest.mark.parametrize("spoiled", ["line", "notice", "actor", "number", "half a letter", "half a letter in a line"])
async def test_a_value_that_cannot_be_stored_is_refused_to_who_brought_it(place: Place, spoiled: str) -> None:
    """Wherever it stands: the neighbours are written, and the one is told what to do. SQLite may keep it."""
    store = place.store()
    inv = invocation(2, log_lines=1)
    bad = {
        "line": asked(inv, lines=("a\0b",)),
        "notice": Change((), notice=Notice("slack", "ops", "a\0b")),
        "actor": Change((replace(entry(inv.id), actor="a\0b"),)),
        "number": Change((), freeze=Freeze(scope="*", reason="-", by="carol", from_ns=1, until_ns=BIG)),
        "half a letter": Change((), people=(OneTimeCode("d", "link", "\ud800", "{}", T0),)),
        "half a letter in a line": asked(inv, lines=("\ud800",)),
    }[spoiled]
    answers = await at_once(store, [asked(invocation(1)), bad, asked(invocation(3))])
    assert (answers[0], answers[2]) == (None, None)
    assert verify(await audit_of(store)).ok
    kept = place.name == "sqlite" and spoiled in ("line", "notice", "actor")
    if kept:
        assert answers[1] is None
    else:
        assert isinstance(answers[1], Refused)
        assert (answers[1].code, answers[1].status) == (Code.BAD_INPUT, 422)
        assert place.counts() == NOTHING | {"invocations": 2, "audit": 2, "events": 2}
    await store.apply(asked(invocation(4)))
    await store.alive()


async def test_a_change_is_written_whole_with_all_that_belongs_to_it(place: Place) -> None:
    """And the Change that goes with it, of the same moment."""
    store = place.store()
    await store.apply(everything(1, also=everything(2)))
    assert place.counts() == {t: 2 * n for t, n in WRITTEN.items()}
    await store.apply(Change((entry(),), lift="scope-1"))
    assert place.counts()["freezes"] == 1


async def test_a_change_is_not_written_when_what_goes_with_it_fails(place: Place) -> None:
    """Not half."""
    store = place.store()
    with pytest.raises(Conflict):
        await store.apply(everything(1, also=moved(invocation(2))))
    assert place.counts() == NOTHING


# ---- who wins --------------------------------------------------------------------------------------------------------


async def test_of_many_who_change_the_same_version_exactly_one_wins(place: Place) -> None:
    """At two gateways: the others read again and decide again."""
    here, there = place.store("gateway-1"), place.store("gateway-2")
    inv = invocation()
    await here.apply(asked(inv))
    answers = [*await asyncio.gather(at_once(here, [moved(inv)] * 10), at_once(there, [moved(inv)] * 10))]
    told = [answer for group in answers for answer in group]
    assert told.count(None) == 1
    assert all(isinstance(answer, Conflict) for answer in told if answer is not None)
    found = await here.invocation(inv.id)
    assert found is not None
    assert (found.version, found.state) == (2, State.QUEUED)
    assert [r.kind for r in await audit_of(here)].count("moved") == 1


async def test_an_invocation_that_is_there_is_not_made_again(place: Place) -> None:
    """Its number is its own."""
    store = place.store()
    await store.apply(asked(invocation(1)))
    with pytest.raises(Conflict):
        await store.apply(asked(invocation(1, reason="another")))
    found = await store.invocation("inv_0001")
    assert found is not None
    assert found.reason == ""


async def test_an_idempotency_key_is_taken_once(place: Place) -> None:
    """By one of many at two gateways; what the others would have written is not there, and the first answer is."""
    stores = [place.store("gateway-1"), place.store("gateway-2")]
    keys = [Once("alice /v1/messages", "k", f"print-{n}", 202, f"answer {n}") for n in range(20)]
    calls = [stores[n % 2].apply(asked(invocation(n), once=key)) for n, key in enumerate(keys)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    [won] = [n for n, answer in enumerate(answers) if answer is None]
    assert sum(isinstance(answer, KeyTaken) for answer in answers) == 19
    assert await stores[0].once("alice /v1/messages", "k") == keys[won]
    assert (place.counts()["invocations"], place.counts()["audit"]) == (1, 1)
    assert await stores[0].once("bob /v1/messages", "k") is None  # another's key of the same name is another key


async def test_a_target_is_held_by_one_and_free_again_after_it(place: Place) -> None:
    """The second is told who holds it; nobody but the holder frees it."""
    store = place.store()
    first, second = queued(1), queued(2)
    await store.apply(asked(first))
    await store.apply(asked(second))
    await store.apply(moved(first, State.RUNNING, take=(LOCK,)))
    with pytest.raises(LockHeld) as told:
        await store.apply(moved(second, State.RUNNING, take=(LOCK,)))
    assert (told.value.name, told.value.holder) == (LOCK, first.id)
    await store.apply(moved(second, State.CANCELLED, free=(LOCK,)))  # it never had it
    with pytest.raises(LockHeld):
        await store.apply(asked(queued(3), take=(LOCK,)))
    first = first.changed(T0, state=State.RUNNING)
    await store.apply(moved(first, State.RUNNING, take=(LOCK,)))  # taking what one has is harmless
    await store.apply(moved(first.changed(T0), State.SUCCEEDED, free=(LOCK,)))
    await store.apply(asked(queued(4), take=(LOCK,)))
    assert place.sql("SELECT name, invocation_id FROM locks") == [(LOCK, "inv_0004")]


async def test_the_same_asking_at_two_gateways_is_one(place: Place) -> None:
    """The first holds the name of the open asking; the others are told its id, and write nothing."""
    stores = [place.store("gateway-1"), place.store("gateway-2")]
    name = f"open:{invocation().binding_hash}"
    calls = [stores[n % 2].apply(asked(invocation(n), take=(name,))) for n in range(20)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    [won] = [n for n, answer in enumerate(answers) if answer is None]
    losers = [answer for answer in answers if isinstance(answer, LockHeld)]
    assert (len(losers), {loser.holder for loser in losers}) == (19, {f"inv_{won:04}"})
    assert (place.counts()["invocations"], place.counts()["audit"]) == (1, 1)
    ended = moved(invocation(won), State.CANCELLED, free=(name,))
    await stores[0].apply(ended)
    await stores[1].apply(asked(invocation(50), take=(name,)))


@pytest.mark.parametrize("place", [pytest.param("postgres", marks=pytest.mark.production)], indirect=True)
async def test_two_who_wait_for_each_other_both_get_through(place: Place) -> None:
    """PostgreSQL breaks off the group that waited first; it is done again, one by one, and nobody is told of it."""
    store = place.store()
    change = "INSERT INTO freezes VALUES (:scope, 'theirs', 'carol', 1, 0)"
    with place.connected() as rival, rival.begin() as theirs:
        rival.execute(text(change), {"scope": "b"})
        ours = [Freeze(scope=scope, reason="ours", by="carol", from_ns=1, until_ns=0) for scope in ("a", "b", "c")]
        callers = asyncio.create_task(at_once(store, [Change((entry(),), freeze=freeze) for freeze in ours]))
        await asyncio.to_thread(waits_for_a_row, place)
        await asyncio.to_thread(rival.execute, text(change), {"scope": "a"})
        theirs.commit()
    assert await callers == [None] * 3
    assert place.sql("SELECT scope, reason FROM freezes ORDER BY scope") == [(s, "ours") for s in "abc"]
    assert (verify(await audit_of(store)).ok, place.counts()["audit"]) == (True, 3)


def waits_for_a_row(place: Place) -> None:
    """Returns once somebody does."""
    for _ in range(500):
        if place.sql("SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"):
            return
        time.sleep(0.01)
    raise AssertionError("nobody waits")


# ---- when it cannot be written ---------------------------------------------------------------------------------------


async def test_what_was_given_up_on_a_held_database_is_never_done(place: Place) -> None:
    """Whoever was told that nothing was done can ask again."""
    store = place.store(deadline_s=0.3 if place.name == "sqlite" else 5)  # PostgreSQL itself gives up after 3 s
    await store.apply(everything(1))
    before = place.counts()
    with held(place):
        with pytest.raises(Unavailable, match="nothing was done") as told:
            await store.apply(everything(2))
        assert (told.value.code, told.value.status) == (Code.STORE_UNAVAILABLE, 503)
        assert await store.invocation("inv_0001") is not None  # reading goes on
    await store.apply(Change((entry(),)))
    assert place.counts() == before | {"audit": before["audit"] + 1}
    assert verify(await audit_of(store)).ok


async def test_who_waits_too_long_for_what_has_begun_is_told_that_it_is_not_known(place: Place) -> None:
    """It may be written any moment; the history says whether it was."""
    store = place.store(deadline_s=0.1)
    with slow_disk() as (_, go):
        with pytest.raises(Unavailable, match="not known whether this was taken"):
            await store.apply(asked(invocation(1)))
        go.set()
        await store.apply(asked(invocation(2)))
    assert place.counts()["invocations"] == 2


async def test_a_database_that_only_reads_is_told_as_unavailable_and_nothing_is_half_written(place: Place) -> None:
    """A disk that is full or mounted to read: readiness says so, reading goes on, and after it all is well again."""
    store = place.store()
    await store.apply(everything(1))
    before = place.counts()

    broken = threading.Event()

    def read_only(connection: Connection) -> None:
        if place.name == "sqlite":
            connection.exec_driver_sql(f"PRAGMA query_only={'ON' if broken.is_set() else 'OFF'}")
        elif broken.is_set():
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")

    event.listen(Engine, "begin", read_only)
    try:
        broken.set()
        answers = await at_once(store, [everything(n) for n in range(2, 6)])
        assert [getattr(answer, "code", None) for answer in answers] == [Code.STORE_UNAVAILABLE] * 4
        with pytest.raises(Unavailable):
            await store.alive()
        assert await store.invocation("inv_0001") is not None
        broken.clear()
        assert place.counts() == before
        await store.apply(everything(2))
        await store.alive()
    finally:
        event.remove(Engine, "begin", read_only)
    assert place.counts() == {t: 2 * n for t, n in WRITTEN.items()}
    assert verify(await audit_of(store)).ok


@pytest.mark.parametrize("fault", [sqlite3.OperationalError("disk I/O error"), RuntimeError("nobody thought of it")])
async def test_after_a_commit_that_failed_the_next_one_is_written(
    place: Place, fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it was: the writing goes on, and no connection is left with its transaction open."""
    store = place.store()

    def breaks(_: object, __: object) -> None:
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(DefaultDialect, "do_commit", breaks)
        with pytest.raises(Unavailable, match="nothing was done"):
            await store.apply(asked(invocation(1)))
    await store.apply(asked(invocation(1)))
    assert place.counts() == NOTHING | {"invocations": 1, "audit": 1, "events": 1}
