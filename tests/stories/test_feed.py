"""The feed: everybody sees one message change as it happens, on any gateway, and misses nothing after a break."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from opsgate.client import Client
from opsgate.contracts.events import FeedEvent
from opsgate.contracts.invocations import InvocationView, State
from tests.stories.room import CHANNEL, FINAL, Room, shown

if TYPE_CHECKING:
    from tests.rig.stages import ProductionStage, Stage


async def _follow(
    stage: Stage,
    person: str,
    *,
    node: int = 0,
    after: int | None = None,
    invocation: str = "",
    channel: str = "",
    at_most: int = 1000,
) -> list[FeedEvent]:
    """Events until an Invocation is final, or `at_most`."""
    seen: list[FeedEvent] = []
    async with Client(stage.urls[node % len(stage.urls)], stage.token(person)) as client:
        stream = client.events(last_event_id=after, invocation=invocation, channel=channel)
        async with asyncio.timeout(30), aclosing(stream) as events:
            async for event in events:
                seen.append(event)
                if len(seen) == at_most or (event.invocation and event.invocation.state in FINAL):
                    break
    return seen


def _last(events: list[FeedEvent]) -> InvocationView:
    found = events[-1].invocation
    assert found is not None
    return found


async def test_progress_is_seen_as_rising_versions_of_one_invocation(room: Room) -> None:
    """One message is edited in place: waiting, starting, running with progress, done; never a second message."""
    waiting = await asyncio.to_thread(room.ask, "alice", "restart production api-service")
    watching = asyncio.create_task(_follow(room.stage, "carol", after=0, invocation=waiting.id))
    await asyncio.to_thread(room.say, "bob", f"approve {shown(waiting)}")
    events = await watching
    seen = [e.invocation for e in events if e.invocation]
    assert {v.id for v in seen} == {waiting.id}
    versions = [v.version for v in seen]
    assert versions == sorted(versions)
    assert len(set(versions)) >= 4
    assert [e.id for e in events] == sorted({e.id for e in events})
    percents = [v.job.progress.percent for v in seen if v.job and v.job.progress and v.job.progress.percent is not None]
    assert percents == sorted(percents)
    assert any(0 < p < 100 for p in percents)
    assert any(line.text for e in events for line in e.log), "log lines come as they are written"
    assert _last(events).state is State.SUCCEEDED
    assert "Asked by Alice, approved by Bob." in _last(events).card.text


async def test_a_denial_is_not_on_the_feed_of_others(room: Room) -> None:
    """Dave's denial reaches Dave and security; Alice's feed goes from what was before to what came after."""
    before = await asyncio.to_thread(room.ask, "bob", "status api-service staging")
    start = (await _follow(room.stage, "bob", after=0, invocation=before.id, at_most=1))[0].id
    denied = await asyncio.to_thread(room.ask, "dave", "deploy production api-service")
    after = await asyncio.to_thread(room.ask, "bob", "status ledger staging")
    await asyncio.to_thread(room.until, "bob", after.id)

    async def ids(person: str) -> set[str | None]:
        seen: set[str | None] = set()
        async with Client(room.stage.url, room.stage.token(person)) as client:
            async with asyncio.timeout(20), aclosing(client.events(last_event_id=start - 1)) as events:
                async for event in events:
                    seen.add(event.invocation_id)
                    if event.invocation and event.invocation.id == after.id and event.invocation.state in FINAL:
                        return seen
        return seen

    assert denied.id not in await ids("alice")
    assert denied.id in await ids("dave")
    assert denied.id in await ids("carol")


async def test_a_channels_feed_has_only_what_was_said_there(room: Room) -> None:
    """Two channels; each follower gets theirs."""
    here = await asyncio.to_thread(room.ask, "alice", "status api-service staging")
    there = await asyncio.to_thread(room.say, "alice", "status ledger staging", channel="payments")
    assert there.invocation is not None
    await asyncio.to_thread(room.until, "alice", there.invocation.id)
    await asyncio.to_thread(room.until, "alice", here.id)
    events = await _follow(room.stage, "alice", after=0, channel="payments", invocation=there.invocation.id)
    assert {e.invocation.context.channel for e in events if e.invocation} == {"payments"}
    listed = room.as_("alice").get("/v1/invocations", params={"channel": CHANNEL, "limit": 200}).text
    assert here.id in listed
    assert there.invocation.id not in listed


async def test_the_feed_of_the_other_gateway_has_it_within_a_second(production: ProductionStage) -> None:
    """Asked on the first gateway, watched live on the second."""
    with Room(production) as room:
        async with Client(production.urls[1], production.token("carol")) as client:
            async with asyncio.timeout(20), aclosing(client.events()) as events:
                following = asyncio.ensure_future(anext(events))
                await asyncio.sleep(0.5)
                began = asyncio.get_running_loop().time()
                asked = await asyncio.to_thread(room.ask, "alice", "status api-service production")
                event = await following
                assert event.invocation_id == asked.id
                assert asyncio.get_running_loop().time() - began < 1.5


async def test_a_follower_that_comes_back_with_its_last_id_has_missed_nothing(room: Room) -> None:
    """Broken off in the middle and resumed on the other gateway: together exactly what one unbroken feed shows."""
    first = await asyncio.to_thread(room.ask, "alice", "status api-service production")
    await asyncio.to_thread(room.until, "alice", first.id)
    start = (await _follow(room.stage, "alice", after=0, invocation=first.id, at_most=1))[0].id
    head = await _follow(room.stage, "alice", after=start - 1, at_most=2)
    for line in ("status ledger staging", "status ledger production", "status web-shop staging"):
        asked = await asyncio.to_thread(room.ask, "bob", line)
        last = await asyncio.to_thread(room.until, "bob", asked.id)

    async def rest(after: int, node: int) -> list[int]:
        seen: list[int] = []
        async with Client(room.stage.urls[node % len(room.stage.urls)], room.stage.token("alice")) as client:
            async with asyncio.timeout(20), aclosing(client.events(last_event_id=after)) as events:
                async for event in events:
                    seen.append(event.id)
                    if event.invocation and (event.invocation.id, event.invocation.state) == (last.id, last.state):
                        break
        return seen

    unbroken = await rest(start - 1, 0)
    resumed = [e.id for e in head] + await rest(head[-1].id, 1)
    assert resumed == unbroken
    assert len(unbroken) > 5


async def test_the_feed_keeps_the_connection_alive_and_says_how_to_go_on(room: Room) -> None:
    """By hand: the content type, an opening comment, and events with id, name and data."""
    asked = await asyncio.to_thread(room.ask, "alice", "status api-service staging")
    with room.as_("alice").stream("GET", "/v1/events", headers={"Last-Event-ID": "0"}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        lines = response.iter_lines()
        assert next(lines) == ": keep-alive"
        block = [next(lines) for _ in range(4)]
    assert block[0] == ""
    assert block[1].startswith("id: ")
    assert block[2] in ("event: invocation", "event: log")
    assert block[3].startswith('data: {"id":')
    assert asked.id
