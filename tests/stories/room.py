"""People in a room who type lines and read answers, by the public REST API alone; and the fleet they look at.

Refuses to look inside: no store, no queue, no port of the gateway.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from uuid import uuid4

import httpx2

from opsgate.contracts.audit import AuditRecord
from opsgate.contracts.base import Contract
from opsgate.contracts.invocations import Answer, InvocationView, Page, State
from opsgate.contracts.problems import Code, Problem

if TYPE_CHECKING:
    from tests.rig.stages import Stage

T = TypeVar("T", bound=Contract)
CHANNEL = "deployments"
FINAL = {State.SUCCEEDED, State.FAILED, State.CANCELLED, State.DENIED, State.EXPIRED, State.UNKNOWN}


def eventually(true: Callable[[], T | bool | None], within_s: float = 20.0, what: str = "it") -> Any:
    """What `true` gives once it is something; fails when it does not in time."""
    deadline = time.monotonic() + within_s
    while not (found := true()):
        assert time.monotonic() < deadline, f"{what} did not come true within {within_s} s"
        time.sleep(0.05)
    return found


class Room:
    """One stage with everybody signed in. `node` chooses the gateway process one speaks to."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.fleet = httpx2.Client(base_url=stage.sandbox_url, trust_env=False, timeout=10)
        self._clients: dict[tuple[str, int], httpx2.Client] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for client in (self.fleet, *self._clients.values()):
            client.close()

    def as_(self, person: str, node: int = 0) -> httpx2.Client:
        """An HTTP client signed in as this person."""
        if (person, node) not in self._clients:
            self._clients[person, node] = self.stage.http(person, node)
        return self._clients[person, node]

    # ---- typing -----------------------------------------------------------------------------------------------

    def post(
        self, person: str, path: str, body: dict[str, Any], *, key: str | None = None, node: int = 0
    ) -> httpx2.Response:
        """A POST as this person, with a fresh Idempotency-Key if none is given."""
        return self.as_(person, node).post(path, json=body, headers={"Idempotency-Key": key or uuid4().hex})

    def say(self, person: str, line: str, *, node: int = 0, channel: str = CHANNEL) -> Answer:
        """A line typed into the channel, and the answer to it."""
        context = {"channel": channel, "channel_kind": "public"}
        response = self.post(person, "/v1/messages", {"text": line, "context": context}, node=node)
        return read(response, Answer)

    def ask(self, person: str, line: str, *, node: int = 0) -> InvocationView:
        """A command line that becomes an Invocation."""
        answer = self.say(person, line, node=node)
        assert answer.invocation is not None, answer.card
        return answer.invocation

    # ---- looking ----------------------------------------------------------------------------------------------

    def see(self, person: str, invocation_id: str, *, node: int = 0) -> InvocationView:
        return read(self.as_(person, node).get(f"/v1/invocations/{invocation_id}"), InvocationView)

    def until(self, person: str, invocation_id: str, *states: State, within_s: float = 20) -> InvocationView:
        """The Invocation once it is in one of these states (default: any final one)."""
        wanted = set(states) or FINAL

        def look() -> InvocationView | None:
            seen = self.see(person, invocation_id)
            assert seen.state in wanted or seen.state not in FINAL, (seen.state, seen.card.text)
            return seen if seen.state in wanted else None

        found: InvocationView = eventually(look, within_s, f"{invocation_id} being {' or '.join(wanted)}")
        return found

    def log(self, person: str, invocation_id: str) -> list[str]:
        return [line["text"] for line in self.as_(person).get(f"/v1/invocations/{invocation_id}/log").json()["items"]]

    def audit(self, **query: Any) -> list[AuditRecord]:
        """All audit records, as Carol of security reads them, page by page."""
        records: list[AuditRecord] = []
        while True:
            answer = self.as_("carol").get("/v1/audit", params=query)
            page = Page[AuditRecord].model_validate_json(answer.raise_for_status().content)
            records += page.items
            if page.next is None:
                return records
            query = {**query, "after": page.next}

    def audited(self, invocation_id: str) -> list[str]:
        """The kinds of audit records about this Invocation, in the order they were written."""
        about = [r for r in self.audit() if r.invocation_id == invocation_id]
        return [r.kind for r in sorted(about, key=lambda r: int(r.at_ns))]

    # ---- the fleet --------------------------------------------------------------------------------------------

    def version(self, service: str, environment: str) -> str:
        """What the fleet itself says is live."""
        answer = self.fleet.get(f"/{service}/version", params={"environment": environment}).raise_for_status()
        return str(answer.json()["version"])

    def effects(self, invocation_id: str) -> int:
        """How often the fleet really did something for this Invocation."""
        return int(self.fleet.get("/v1/effects").json()["effects"].get(invocation_id, 0))

    def trouble(self, **faults: Any) -> None:
        self.fleet.put("/v1/faults", json=faults).raise_for_status()

    def peace(self) -> None:
        self.fleet.delete("/v1/faults").raise_for_status()


def read(response: httpx2.Response, shape: type[T]) -> T:
    """A good answer in the shape of its contract."""
    assert response.is_success, (response.status_code, response.text)
    return shape.model_validate_json(response.content)


def refused(response: httpx2.Response, status: int, code: Code) -> Problem:
    """A refusal as a problem document with this status and code."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    problem = Problem.model_validate_json(response.content)
    assert (response.status_code, problem.status, problem.code) == (status, status, code), response.text
    return problem


def shown(view: InvocationView) -> str:
    """An Invocation as one types it in a vote: its id, and the first digits of the hash on the card."""
    return f"{view.id} {view.binding_hash.removeprefix('sha256:')[:8]}"
