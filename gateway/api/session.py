"""The browser's session for the console's own scripts: who is signed in, the CSRF value, and ending it."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel

from gateway.api import browser
from gateway.api.callers import HouseDep, PersonDep, TokenDep
from gateway.api.openapi import SIGNED_IN, failures
from gateway.domain.errors import Refused
from gateway.domain.invocation import when
from gateway.flows import sessions
from opsgate.contracts.problems import Code

router = APIRouter(prefix="/v1/session", tags=["session"], responses=SIGNED_IN | failures(422, 503))


class SessionView(BaseModel):
    """`person`: who is signed in in this browser, null when nobody is. `csrf`: for the header X-Opsgate-CSRF.

    `signs_in`: whether one can sign in here at all, at `/login`.
    """

    signs_in: bool
    person: str | None
    name: str
    csrf: str
    expires_at: datetime | None


@router.get("", operation_id="getSession")
async def get_session(request: Request, house: HouseDep) -> SessionView:
    """Of the cookie only; a bearer token's owner is told by `/v1/whoami`."""
    token = browser.read(request, house)
    held = await sessions.held(house.gate, token)
    person = house.gate.folk.person(held.account) if held else None
    if held is None or person is None:
        return SessionView(signs_in=house.gate.signs_in, person=None, name="", csrf="", expires_at=None)
    return SessionView(
        signs_in=house.gate.signs_in,
        person=person.id,
        name=person.name,
        csrf=sessions.csrf_of(token),
        expires_at=when(held.expires_ns),
    )


@router.delete("", operation_id="endSession", status_code=204)
async def end_session(house: HouseDep, token: TokenDep, response: Response) -> None:
    """Signs out: the browser's session, or the bearer token of the call if it is one of ours."""
    if await sessions.held(house.gate, token) is None:
        raise Refused(Code.UNAUTHENTICATED, 401, "Nobody is signed in with this, or not any more.")
    await sessions.sign_out(house.gate, token)
    browser.take(response, house)


@router.post("/revoke-all", operation_id="endAllSessions", status_code=204)
async def end_all_sessions(house: HouseDep, who: PersonDep, response: Response) -> None:
    """Signs out everywhere: every browser, every terminal. API tokens stay; they are revoked one by one."""
    await sessions.sign_out_everywhere(house.gate, who)
    browser.take(response, house)
