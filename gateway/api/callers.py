"""Who calls and whether this call was answered before: what every route needs before its flow.

Identity comes from the bearer token, a browser's session and the evidence only, never from another header.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from fastapi.responses import Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

from gateway.api import browser
from gateway.domain.binding import digest
from gateway.domain.directory import Asker
from gateway.domain.errors import KeyTaken, Refused
from gateway.domain.ports import Once, Proven
from gateway.flows import identify
from gateway.flows.identify import Caller
from gateway.house import House
from opsgate.contracts.invocations import Evidence
from opsgate.contracts.problems import Code

_bearer = HTTPBearer(auto_error=False, scheme_name="Caller", description="A person's token (JWT), or an adapter's")
_worker = HTTPBearer(auto_error=False, scheme_name="Worker", description="OPSGATE_WORKER_TOKEN")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def house_of(request: Request) -> House:
    house: House = request.app.state.house
    return house


HouseDep = Annotated[House, Depends(house_of)]


async def token_of(request: Request, house: HouseDep, credentials: Credentials) -> str:
    """What the call rests on: a bearer token, or else the browser's session. Raises Refused (403) for a forged one."""
    return credentials.credentials if credentials else browser.token_of(request, house)


TokenDep = Annotated[str, Depends(token_of)]


async def caller_of(house: HouseDep, token: TokenDep) -> Caller:
    return await identify.caller(house.gate, token, house.tokens)


CallerDep = Annotated[Caller, Depends(caller_of)]


async def person_of(caller: CallerDep) -> Asker:
    """For calls that only a person makes (no evidence in a GET)."""
    if caller.asker is None:
        raise Refused(Code.UNPROVEN_ACTOR, 403, "An adapter cannot do this; only a person can, with their own token.")
    return caller.asker


PersonDep = Annotated[Asker, Depends(person_of)]


async def worker_of(house: HouseDep, credentials: Annotated[Any, Depends(_worker)]) -> None:
    """Only workers. Constant-time compare."""
    wanted = house.worker_token
    given = credentials.credentials.encode() if credentials else b""
    if not wanted or not hmac.compare_digest(wanted, given):
        raise Refused(Code.UNAUTHENTICATED, 401, "This is for workers only. Set OPSGATE_WORKER_TOKEN on both sides.")


WorkerDep = Depends(worker_of)
KeyHeader = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=128,
        pattern=r"^[\x21-\x7e]+$",
        description="Made by you, new for each thing you ask. The same key with the same body gives the same answer.",
    ),
]


@dataclass
class Posted:
    """One POST: who is behind it, and its idempotency key."""

    house: House
    asker: Asker
    proven: Proven | None
    scope: str
    key: str
    fingerprint: str

    async def replay(self) -> Response | None:
        """The answer given before to the same key. Raises Refused when the body is another."""
        found = await self.house.store.once(self.scope, self.key)
        if found is None:
            return None
        if found.fingerprint != self.fingerprint:
            words = "This Idempotency-Key was used for something else. Use a new key for each thing you ask."
            raise Refused(Code.KEY_REUSED, 422, words)
        return Response(found.answer, found.status, {"Idempotent-Replayed": "true"}, "application/json")

    def once(self, status: int | Callable[[Any], int] = 200) -> Callable[[Any], Once]:
        """Makes the idempotency record of an answer (a contract)."""

        def make(answer: BaseModel) -> Once:
            code = status if isinstance(status, int) else status(answer)
            return Once(self.scope, self.key, self.fingerprint, code, answer.model_dump_json(by_alias=True))

        return make


async def posted(
    request: Request, house: House, caller: Caller, body: BaseModel, evidence: Evidence | None, key: str
) -> Posted:
    """Raises Refused when nobody is proven, Unlinked when it is somebody nobody knows yet."""
    if evidence is not None:
        # An account linked or unlinked at another gateway counts here from this very call on.
        await house.gate.folk.catch_up(await house.store.people_version())
    asker, proven = identify.asker(house.gate, caller, evidence, house.evidence)
    # A platform's retry is the same delivery whatever key the adapter made up: its signature is the key.
    used = proven.key if proven else key
    # And it is that of one thing only: the same signed request cannot be used up once on every route.
    route = "evidence" if proven else f"{request.method} {request.scope['path']}"
    return Posted(house, asker, proven, f"{asker.id} {route}", used, _fingerprint(body))


def _fingerprint(body: BaseModel) -> str:
    """Raises Refused for numbers and text that have no canonical form, which no Command takes anyway."""
    try:
        return digest(body.model_dump(mode="json", exclude={"evidence"}))
    except ValueError:
        words = "The body holds a number beyond 2^53 or text that is not valid Unicode. Send it otherwise."
        raise Refused(Code.BAD_INPUT, 422, words) from None


async def answered(request: Request, call: Posted, work: Callable[[], Any]) -> Any:
    """The answer given before, or that of `work`. One at a time for one key: 409 while the first is being worked on."""
    before = await call.replay()
    if before is not None:
        return before
    running: set[tuple[str, str]] = request.app.state.running
    mark = (call.scope, call.key)
    if mark in running:
        raise Refused(
            Code.KEY_RUNNING, 409, "The same request is being worked on. Ask again in a second.", retry_after_s=1
        )
    running.add(mark)
    try:
        return await work()
    except KeyTaken:
        # Another gateway was first with the same key; its answer is the answer.
        again = await call.replay()
        if again is not None:
            return again
        raise Refused(Code.KEY_RUNNING, 409, "The same request is being worked on. Ask again in a second.") from None
    finally:
        running.discard(mark)
