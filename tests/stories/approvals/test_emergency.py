"""When it burns: rows 14 and 25 of the approvals reference."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from opsgate.contracts.invocations import State
from tests.stories.room import eventually

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.stories.approvals.conftest import Guild

REASON = "checkout is down for everybody since 10:02"


@pytest.fixture
def on_call(room: Guild) -> Iterator[Guild]:
    """Alice is on call for api-service."""
    shift = {
        "service": "api-service",
        "person": "alice",
        "from": "2020-01-01T00:00:00Z",
        "until": "2099-01-01T00:00:00Z",
    }

    def begin(directory: dict[str, Any]) -> None:
        directory.setdefault("oncall", []).append(shift)

    def end(directory: dict[str, Any]) -> None:
        directory["oncall"] = [s for s in directory["oncall"] if s["person"] != "alice"]

    room.change_directory(begin)
    for node in range(len(room.stage.urls)):
        eventually(partial(_on_call, room, node))
    yield room
    for review in room.as_("carol").get("/v1/reviews?open=true").json()["items"]:
        room.post("carol", f"/v1/reviews/{review['id']}/close", {"note": "looked at after the story"})
    room.change_directory(end)


def _on_call(room: Guild, node: int) -> bool:
    return "oncall:api-service" in room.groups("alice", node)


def broken(person: str, room: Guild, line: str = "deploy production api-service --version 1.4.2") -> Any:
    return room.ask(person, f'{line} --break-glass INC-{time.time_ns() % 10**8} --reason "{REASON}"')


def test_a14_whoever_is_on_call_breaks_the_glass_loudly_and_it_is_looked_at_afterwards(on_call: Guild) -> None:
    """It runs at once; security is paged; everybody reads it; a review stays open and blocks the next time."""
    room = on_call
    done = room.until("alice", broken("alice", room).id)
    assert done.state is State.SUCCEEDED
    assert "Glass broken for INC-" in done.card.text
    assert {o["id"] for o in done.decision.obligations} >= {"page", "post_review", "time_limit"}

    def paged() -> bool:
        return any(done.id in page["text"] for page in room.fleet.get("/v1/pages").json()["items"])

    eventually(paged, what="somebody being paged")
    told = room.as_("dave").get("/v1/invocations", params={"channel": "deployments", "limit": 50}).json()["items"]
    assert any(item["id"] == done.id and item["break_glass"].startswith("INC-") for item in told)

    (review,) = room.as_("carol").get("/v1/reviews?open=true").json()["items"]
    assert (review["invocation_id"], review["person"], review["groups"]) == (done.id, "alice", ["security"])

    again = broken("alice", room)
    assert again.state is State.DENIED
    assert "review_open" in {r.code for r in again.decision.reasons}

    own = room.post("alice", f"/v1/reviews/{review['id']}/close", {"note": "it was all fine, trust me"})
    assert own.status_code == 403
    closed = room.say("carol", f"review {review['id']} The rollback was the right thing to do.")
    assert closed.card.tone == "success"
    assert broken("alice", room).state is not State.DENIED


def test_a14_t54_nobody_else_breaks_it_and_not_without_a_reason(room: Guild) -> None:
    """Bob is not on call: being the owner gives no right to pass by others."""
    denied = broken("bob", room)
    assert denied.state is State.DENIED
    assert [r.code for r in denied.decision.reasons] == ["break_glass_refused"]
    assert "being in oncall:api-service" in denied.card.text


def test_a14_broken_glass_is_for_one_start_soon(on_call: Guild) -> None:
    """Time-boxed: what it allowed has to start within a quarter of an hour."""
    asked = broken("alice", on_call)
    limit = next(o for o in asked.decision.obligations if o["id"] == "time_limit")
    assert 0 < limit["start_within_s"] <= 15 * 60
    on_call.until("alice", asked.id)


def test_a14_breaking_it_twice_at_the_same_moment_leaves_one_review(on_call: Guild) -> None:
    """Two windows, two gateways, one person: one goes through, the other meets the open review."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as many:
        lines = [f"deploy production api-service --version 1.4.{n}" for n in range(4)]
        asked = list(many.map(lambda line: broken("alice", on_call, line), lines))
    allowed = [a for a in asked if a.state is not State.DENIED]
    assert len(allowed) == 1
    assert len(on_call.as_("carol").get("/v1/reviews?open=true").json()["items"]) == 1
    on_call.until("alice", allowed[0].id)


def test_a25_a_freeze_of_everything_stops_changes_at_once_and_at_the_claim_but_not_reading(room: Guild) -> None:
    """The kill switch: asked before or after it, nothing changes; status and why still answer."""
    with room.busy():
        asked = room.ask("alice", f"deploy production api-service --version 1.4.1 --reason story-{time.time_ns()}")
        room.say("bob", f"approve {asked.id} {asked.binding_hash.removeprefix('sha256:')[:8]}")
        assert room.ask("carol", 'freeze --reason "find out first"').state is State.SUCCEEDED
    try:
        stopped = room.until("alice", asked.id, State.DENIED)
        assert "frozen" in {r.code for r in stopped.decision.reasons}
        denied = room.ask("alice", "deploy staging api-service")
        assert [r.code for r in denied.decision.reasons] == ["frozen"]
        assert "by Carol" in denied.card.text
        assert room.until("alice", room.ask("alice", "status api-service").id).state is State.SUCCEEDED
    finally:
        assert room.ask("carol", "unfreeze").state is State.SUCCEEDED
    assert room.until("alice", room.ask("alice", "deploy staging api-service").id).state is State.SUCCEEDED
