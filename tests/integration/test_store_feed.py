"""What followers, relays and lists read from the store: nothing missed, nothing twice, nothing taken by two."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import Connection, Engine, event

from gateway.domain.invocation import NS, Invocation
from gateway.domain.ports import Change, EventRow, LogRow, Notice, Query, Wake
from gateway.infra.store.store import SqlStore
from opsgate.contracts.audit import AuditRecord
from opsgate.contracts.invocations import ChatContext, State
from tests.integration.stores import T0, Place, asked, at_once, audit_of, entry, invocation, moved, queued

HOLD = 10 * NS


# ---- the feed --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [pytest.param("postgres", marks=pytest.mark.production)], indirect=True)
async def test_an_event_with_a_lower_number_is_never_seen_after_one_with_a_higher(place: Place) -> None:
    """A gateway has its number and is slow to commit: the other's event waits for it, so no follower goes past it."""
    slow, quick = place.store("gateway-1"), place.store("gateway-2")
    first, reached, go = threading.Lock(), threading.Event(), threading.Event()

    def waits(_: Connection) -> None:
        if first.acquire(blocking=False):
            reached.set()
            assert go.wait(10)

    event.listen(Engine, "commit", waits)
    try:
        one = asyncio.create_task(slow.apply(asked(invocation(1))))
        assert await asyncio.to_thread(reached.wait, 10)
        two = asyncio.create_task(quick.apply(asked(invocation(2))))
        done, _ = await asyncio.wait([two], timeout=0.5)
        assert not done
        assert await quick.events(0, 10) == []
        go.set()
        await asyncio.gather(one, two)
    finally:
        go.set()
        event.remove(Engine, "commit", waits)
    found = await quick.events(0, 10)
    assert [e.invocation.id for e in found if e.invocation] == ["inv_0001", "inv_0002"]


async def test_who_follows_while_two_gateways_write_gets_every_event_once_and_in_order(place: Place) -> None:
    """From the last number they saw, each time: what they got is all there is."""
    stores = [place.store("gateway-1"), place.store("gateway-2")]
    follower = place.store("gateway-3")
    seen: list[EventRow] = []

    async def follow(until: int) -> None:
        while len(seen) < until:
            seen.extend(await follower.events(seen[-1].id if seen else 0, 7))

    async def write(store: SqlStore, start: int) -> None:
        for n in range(start, start + 100, 10):
            assert await at_once(store, [asked(invocation(m)) for m in range(n, n + 10)]) == [None] * 10

    async with asyncio.timeout(20):
        await asyncio.gather(follow(200), write(stores[0], 0), write(stores[1], 100))
    assert [e.id for e in seen] == [e.id for e in await follower.events(0, 1000)]
    assert sorted(e.invocation.id for e in seen if e.invocation) == [f"inv_{n:04}" for n in range(200)]
    assert await follower.last_event() == seen[-1].id


async def test_an_event_brings_what_was_added_and_the_invocation_as_it_is_now(place: Place) -> None:
    """Lines by their span, notices with where they are for."""
    store = place.store()
    inv = queued()
    await store.apply(asked(inv))
    running = inv.changed(T0, state=State.RUNNING, log_lines=2)
    await store.apply(Change((entry(inv.id),), running, inv.version, lines=("one", "two")))
    more = running.changed(T0, log_lines=3)
    await store.apply(Change((entry(inv.id),), more, running.version, lines=("three",)))
    await store.apply(Change((entry(),), notice=Notice("slack", "ops", "Frozen")))
    found = await store.events(0, 10)
    assert [e.type for e in found] == ["invocation", "log", "invocation", "log", "invocation", "notice"]
    assert [e.invocation for e in found[:-1]] == [more] * 5
    assert [[line.text for line in e.lines] for e in found if e.type == "log"] == [["one", "two"], ["three"]]
    assert (found[-1].notice, found[-1].invocation) == (Notice("slack", "ops", "Frozen"), None)
    assert await store.lines(inv.id, 1, 1) == [LogRow(2, T0, "two")]


# ---- the outbox ------------------------------------------------------------------------------------------------------


async def test_a_wake_up_that_was_taken_is_hidden_for_a_while_and_comes_back_if_it_was_not_published(
    place: Place,
) -> None:
    """A relay that dies loses nothing; one that lives is not doubled."""
    store = place.store()
    await store.apply(asked(queued(1), wake_ns=T0))
    await store.apply(asked(queued(2), wake_ns=T0 + 5))
    assert await store.due(T0 - 1, HOLD, 10) == []
    [taken] = await store.due(T0, HOLD, 10)
    assert taken == Wake(taken.id, "inv_0001", queued().binding_hash)
    assert await store.due(T0, HOLD, 10) == []
    assert [w.job for w in await store.due(T0 + 5, HOLD, 10)] == ["inv_0002"]
    assert await store.due(T0 + HOLD - 1, HOLD, 10) == []
    assert await store.due(T0 + HOLD, HOLD, 10) == [taken]
    assert await store.unsent(["inv_0001", "inv_0002", "inv_0003"]) == {"inv_0001", "inv_0002"}
    await store.published([taken.id])
    assert await store.unsent(["inv_0001", "inv_0002"]) == {"inv_0002"}
    assert [w.job for w in await store.due(T0 + 5 * HOLD, HOLD, 10)] == ["inv_0002"]


async def test_two_relays_do_not_take_the_same_wake_up(place: Place) -> None:
    """At the same moment, at two gateways; together they take all, the oldest first."""
    stores = [place.store("gateway-1"), place.store("gateway-2")]
    await at_once(stores[0], [asked(queued(n), wake_ns=T0 + n) for n in range(60)])
    assert [w.job for w in await stores[0].due(T0 + 60, HOLD, 2)] == ["inv_0000", "inv_0001"]
    taken: list[str] = []
    while len(taken) < 58:
        looks = await asyncio.gather(*(stores[n % 2].due(T0 + 60, HOLD, 10) for n in range(4)))
        taken += [wake.job for look in looks for wake in look]
        assert any(looks)
    assert sorted(taken) == [f"inv_{n:04}" for n in range(2, 60)]


# ---- lists -----------------------------------------------------------------------------------------------------------


async def paged(ask: Callable[[tuple[int, str] | None], Awaitable[list[Invocation]]]) -> list[str]:
    """Every page of a list, each from where the one before ended."""
    found: list[Invocation] = []
    while page := await ask((found[-1].created_ns, found[-1].id) if found else None):
        found += page
    return [inv.id for inv in found]


async def test_pages_are_complete_and_nothing_is_on_two_of_them(place: Place) -> None:
    """Also when many were asked in the same nanosecond, and when new ones come while one turns the pages."""
    store = place.store()
    same_moment = [invocation(n, created_ns=T0 + n // 10) for n in range(50)]
    await at_once(store, [asked(inv) for inv in same_moment])
    newer = iter(range(100, 200))

    async def ask(before: tuple[int, str] | None) -> list[Invocation]:
        found = await store.invocations(Query(None, limit=7, before=before))
        await store.apply(asked(invocation(next(newer))))
        return found

    assert await paged(ask) == [f"inv_{n:04}" for n in reversed(range(50))]


async def test_a_list_holds_what_was_asked_for_and_what_its_reader_may_see(place: Place) -> None:
    """A denial at once is for its asker; who sees all sees it too."""
    store = place.store()
    made = [
        invocation(1, State.DENIED),
        invocation(2, State.DENIED, asked_by="bob"),
        invocation(3, context=ChatContext(channel="ops")),
        invocation(4, service="ledger"),
    ]
    await at_once(store, [asked(inv) for inv in made])
    lists = {
        Query("alice"): [4, 3, 1],
        Query("bob"): [4, 3, 2],
        Query("carol"): [4, 3],
        Query(None): [4, 3, 2, 1],
        Query(None, state="denied"): [2, 1],
        Query("alice", state="denied"): [1],
        Query("alice", asked_by="bob"): [],
        Query("carol", channel="ops"): [3],
        Query("carol", service="ledger"): [4],
    }
    for query, expected in lists.items():
        found = [inv.id for inv in await store.invocations(query)]
        assert (query, found) == (query, [f"inv_{n:04}" for n in expected])
    assert [inv.id for inv in await store.waiting(10)] == ["inv_0003", "inv_0004"]


async def test_pages_of_the_audit_log_and_of_an_output_are_complete(place: Place) -> None:
    """Across chains, each oldest first."""
    stores = [place.store("gateway-1"), place.store("gateway-2")]
    inv = queued()
    await stores[0].apply(asked(inv))
    for n in range(9):
        await stores[1].apply(Change((entry(number=n), entry(number=-n))))
    lines = tuple(f"line {n}" for n in range(25))
    running = inv.changed(T0, state=State.RUNNING, log_lines=25)
    await stores[0].apply(Change((entry(inv.id),), running, inv.version, lines=lines))
    records: list[AuditRecord] = []
    while page := await stores[0].audit(None, (records[-1].writer, records[-1].seq) if records else ("", 0), 4):
        records += page
    assert records == await audit_of(stores[0])
    assert [(r.writer, r.seq) for r in records] == [("gateway-1", n) for n in (1, 2)] + [
        ("gateway-2", n) for n in range(1, 19)
    ]
    rows: list[LogRow] = []
    while part := await stores[0].lines(inv.id, rows[-1].seq if rows else 0, 4):
        rows += part
    assert [(row.seq, row.text) for row in rows] == list(enumerate(lines, 1))


async def test_where_somebody_voted_is_listed_page_by_page(place: Place) -> None:
    """The audit log knows who did; what they took back is there still."""
    store = place.store()
    for n in range(12):
        await store.apply(asked(invocation(n)))
        if n % 2:
            voted = invocation(n).changed(T0)
            await store.apply(Change((entry(voted.id, "vote.approve"),), voted, 1))
    assert await paged(lambda before: store.voted("alice", before, 2)) == [f"inv_{n:04}" for n in (11, 9, 7, 5, 3, 1)]
    assert await store.voted("bob", None, 10) == []


async def test_who_looks_after_everything_is_shown_what_is_overdue(place: Place) -> None:
    """By expiry, by lease, by how long nobody claimed it; what is over needs no look."""
    store = place.store()
    waits, forgotten = invocation(1, expires_ns=T0 + 100 * NS), queued(2)
    await store.apply(asked(waits))
    await store.apply(asked(forgotten))
    assert await store.overdue(T0, 10) == []
    assert [inv.id for inv in await store.overdue(T0 + 50 * NS, 10)] == ["inv_0002"]
    assert [inv.id for inv in await store.overdue(T0 + 100 * NS, 10)] == ["inv_0002", "inv_0001"]
    await store.apply(moved(waits, State.EXPIRED))
    assert [inv.id for inv in await store.overdue(T0 + 1000 * NS, 10)] == ["inv_0002"]
