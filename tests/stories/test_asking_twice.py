"""Idempotency keys: asking again is safe, whoever repeats it; and nobody can take somebody else's answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from opsgate.contracts.invocations import InvocationView, State
from opsgate.contracts.problems import Code
from tests.stories.room import Room, read, refused

STATUS = {"command": "status", "args": {"service": "api-service", "environment": "staging"}}
PATH = "/v1/invocations"


def test_the_same_key_with_the_same_body_gives_the_same_answer_and_one_effect(room: Room) -> None:
    """Sent five times, also to the other gateway: one Invocation, one restart of the fleet."""
    key, body = uuid4().hex, {"command": "restart", "args": {"service": "api-service", "environment": "staging"}}
    answers = [room.post("alice", PATH, body, key=key, node=node) for node in (0, 1, 0, 1, 0)]
    assert {a.status_code for a in answers} == {202}
    assert len({a.content for a in answers}) == 1
    assert [a.headers.get("Idempotent-Replayed") for a in answers] == [None, "true", "true", "true", "true"]
    asked = read(answers[0], InvocationView)
    room.until("alice", asked.id, State.SUCCEEDED)
    assert room.effects(asked.id) == 1


def test_the_same_key_at_the_same_moment_makes_one_invocation(room: Room) -> None:
    """Twenty at once on every gateway: the answer of the first, or to wait a second; never a second Invocation."""
    key = uuid4().hex
    for node in (0, 1):
        room.as_("bob", node)
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda n: room.post("bob", PATH, STATUS, key=key, node=n % 2), range(20)))
    assert {a.status_code for a in answers} <= {202, 409}
    assert all(a.json()["code"] == "idempotency_key_running" for a in answers if a.status_code == 409)
    made = {a.json()["id"] for a in answers if a.status_code == 202}
    made |= {room.post("bob", PATH, STATUS, key=key).json()["id"]}
    assert len(made) == 1


def test_t56_the_same_key_with_another_body_is_refused(room: Room) -> None:
    """422: the key was used for something else; nothing is asked."""
    key = uuid4().hex
    room.post("alice", PATH, STATUS, key=key).raise_for_status()
    other = {**STATUS, "args": {"service": "ledger", "environment": "staging"}}
    refused(room.post("alice", PATH, other, key=key), 422, Code.KEY_REUSED)


def test_t56_the_same_key_of_another_person_is_independent(room: Room) -> None:
    """A key belongs to its person: Bob gets an Invocation of his own, never Alice's answer."""
    key = uuid4().hex
    hers = read(room.post("alice", PATH, STATUS, key=key), InvocationView)
    his = read(room.post("bob", PATH, STATUS, key=key), InvocationView)
    assert hers.id != his.id
    assert (hers.requested_by.id, his.requested_by.id) == ("alice", "bob")


def test_the_same_key_on_another_route_is_independent(room: Room) -> None:
    """A line in chat and a call of the API do not answer for each other."""
    key = uuid4().hex
    first = read(room.post("alice", PATH, STATUS, key=key), InvocationView)
    said = room.post("alice", "/v1/messages", {"text": "status api-service staging"}, key=key).json()
    assert said["invocation"]["id"] != first.id


@pytest.mark.parametrize(
    "path", [PATH, "/v1/messages", f"{PATH}/inv_0000000000/votes", f"{PATH}/inv_0000000000/cancel"]
)
def test_without_a_key_nothing_is_done(room: Room, path: str) -> None:
    """400, and the words say what to send."""
    body = {"text": "status api-service"} if "inv_" not in path else {}
    if path.endswith("votes"):
        body = {"verdict": "approve", "binding_hash": "sha256:" + "0" * 64}
    problem = refused(room.as_("alice").post(path, json=body), 400, Code.KEY_MISSING)
    assert "Send an `Idempotency-Key` header" in problem.detail


def test_a_denial_is_repeated_too(room: Room) -> None:
    """200 with the same decision: a denial is an answer."""
    key, body = uuid4().hex, {"text": "deploy staging api-service"}
    first, second = (room.post("dave", PATH, body, key=key) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json() == second.json()
    assert first.json()["state"] == "denied"
