"""Many at once: however many people press, on however many gateways, it is decided once and done once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx2
import pytest
import yaml

from opsgate.contracts.invocations import State
from tests.stories.room import Room, eventually

if TYPE_CHECKING:
    from tests.rig.stages import ProductionStage

OWNERS = [f"owner-{n}" for n in range(20)]
VOTES = 200


@pytest.fixture
def twenty_owners(production: ProductionStage) -> Iterator[Room]:
    """Twenty people own api-service, on both gateways."""
    file = production.files.directory
    before = file.read_text()
    directory = yaml.safe_load(before)
    groups = ["members", "developers", "team:payments", "owners:api-service"]
    directory["people"] += [{"id": name, "name": name.title(), "groups": groups} for name in OWNERS]
    file.write_text(yaml.safe_dump(directory))
    with Room(production) as room:
        for node in (0, 1):
            eventually(partial(_knows_the_owners, room, node))
        yield room
    file.write_text(before)


def _knows_the_owners(room: Room, node: int) -> bool:
    return bool(room.as_(OWNERS[0], node).get("/v1/whoami").is_success)


async def _vote_all(room: Room, invocation_id: str, binding_hash: str, people: list[str]) -> list[dict[str, Any]]:
    """Everybody presses Approve at the same moment, in turn on each gateway."""
    body = {"verdict": "approve", "binding_hash": binding_hash}
    urls = room.stage.urls
    tokens = {person: room.stage.token(person) for person in set(people)}
    start = asyncio.Event()

    async def one(client: httpx2.AsyncClient, person: str, url: str) -> dict[str, Any]:
        await start.wait()
        headers = {"Authorization": f"Bearer {tokens[person]}", "Idempotency-Key": uuid4().hex}
        answer = await client.post(f"{url}/v1/invocations/{invocation_id}/votes", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    limits = httpx2.Limits(max_connections=len(people))
    async with httpx2.AsyncClient(trust_env=False, timeout=60, limits=limits) as client:
        votes = [asyncio.create_task(one(client, p, urls[n % len(urls)])) for n, p in enumerate(people)]
        start.set()
        return list(await asyncio.gather(*votes))


async def test_t10_two_hundred_votes_at_once_on_two_gateways_make_one_transition_and_one_effect(
    twenty_owners: Room,
) -> None:
    """Twenty owners, ten presses each: one vote counts, everybody else is told that it is decided."""
    room = twenty_owners
    waiting = room.ask("alice", "restart production api-service")
    people = [OWNERS[n % len(OWNERS)] for n in range(VOTES)]
    answers = await _vote_all(room, waiting.id, waiting.binding_hash, people)
    kinds = Counter(a["kind"] for a in answers)
    assert kinds == {"invocation": 1, "refusal": VOTES - 1}
    done = await asyncio.to_thread(room.until, "alice", waiting.id, State.SUCCEEDED)
    assert len(done.votes) == 1
    assert room.effects(waiting.id) == 1
    audited = Counter(room.audited(waiting.id))
    assert audited["vote.approve"] == 1
    assert audited["vote.approve.refused"] == VOTES - 1
    assert audited["job.ended"] == 1


async def test_t11_fifty_clicks_of_one_owner_are_one_vote(room: Room) -> None:
    """A nervous finger changes nothing."""
    waiting = room.ask("alice", "migrate production api-service --version 1.4.2")
    answers = await _vote_all(room, waiting.id, waiting.binding_hash, ["bob"] * 50)
    assert {a["kind"] for a in answers} == {"invocation"}, "it still waits for security, so each click is taken"
    seen = room.see("alice", waiting.id)
    assert seen.state is State.PENDING
    assert [v.by.id for v in seen.votes] == ["bob"]
    assert {s.requirement.id: s.have for s in seen.decision.requirements} == {"destroy_owner": 1, "destroy_security": 0}
    room.say("alice", f"cancel {waiting.id}")
