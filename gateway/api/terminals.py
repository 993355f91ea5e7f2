"""Signing terminals in: the OAuth endpoints of `opsgate login`, and the pages where a person lets the terminal in.

Errors for the terminal are those of RFC 6749 and RFC 8628; nothing is ever sent to an address that was not checked.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from gateway.api.callers import HouseDep
from gateway.api.pages import Show, csrf, form, not_too_often, page_router, sent, to_sign_in, visitor
from gateway.domain.directory import Asker
from gateway.domain.errors import GateError, Refused
from gateway.domain.invocation import NS
from gateway.flows import sessions, terminals
from gateway.flows.terminals import TerminalError
from gateway.house import House
from opsgate.contracts.problems import Code

_KEEP_OUT = {"Cache-Control": "no-store", "Pragma": "no-cache"}
router = APIRouter(prefix="/oauth", include_in_schema=False)
"""What the terminal calls itself. Needs no session and no CSRF value: a code is proven by what only it knows."""


@router.post("/device_authorization")
async def device_authorization(request: Request, house: HouseDep) -> Response:
    """RFC 8628, 3.1: a code for the terminal to show. `name`: what it calls its machine."""
    fields = await form(request)
    if fields.get("client_id") != terminals.CLIENT or house.provider is None:
        return _error(TerminalError("invalid_client", "Only `opsgate login` asks here, where sign-in is set up."), 401)
    ip = await not_too_often(request, house, "device")
    made = await terminals.begin_device(house.gate, fields.get("name", ""), ip)
    page = f"{house.gate.public_url}/device"
    body = {
        "device_code": made.device_code,
        "user_code": made.user_code,
        "verification_uri": page,
        "verification_uri_complete": f"{page}?user_code={made.user_code}",
        "expires_in": terminals.DEVICE_S,
        "interval": terminals.INTERVAL_S,
    }
    return JSONResponse(body, headers=_KEEP_OUT)


@router.post("/token")
async def token(request: Request, house: HouseDep) -> Response:
    """RFC 6749, 3.2: the token for a code."""
    try:
        fields = await form(request)
        if fields.get("client_id") != terminals.CLIENT:
            return _error(TerminalError("invalid_client", "Only `opsgate login` asks here."), 401)
        match fields.get("grant_type"):
            case "authorization_code":
                code, verifier = fields.get("code", ""), fields.get("code_verifier", "")
                made = await terminals.redeem(house.gate, code, verifier, fields.get("redirect_uri", ""))
            case terminals.DEVICE_GRANT:
                made = await terminals.poll(house.gate, house.polls, fields.get("device_code", ""))
            case _:
                words = f"grant_type must be authorization_code or {terminals.DEVICE_GRANT}."
                return _error(TerminalError("unsupported_grant_type", words))
    except TerminalError as error:
        return _error(error)
    except Refused as error:
        return _error(TerminalError("invalid_request", error.detail))
    life_s = (made.credential.expires_ns - made.credential.created_ns) // NS
    body = {"access_token": made.token, "token_type": "Bearer", "expires_in": life_s}
    return JSONResponse(body, headers=_KEEP_OUT)


@router.post("/revoke")
async def revoke(request: Request, house: HouseDep) -> Response:
    """RFC 7009: the token in hand ends, whatever it is; 200 for one that is none, too."""
    await sessions.sign_out(house.gate, (await form(request)).get("token", ""))
    return Response(status_code=200, headers=_KEEP_OUT)


def _error(error: TerminalError, status: int = 400) -> Response:
    body = {"error": error.error, "error_description": error.words}
    return JSONResponse(body, status, headers=_KEEP_OUT)


# ---- the pages of the person -----------------------------------------------------------------------------------------


def terminal_pages(show: Show) -> APIRouter:
    pages = page_router(show)

    @pages.get("/oauth/authorize")
    async def authorize(request: Request, house: HouseDep) -> Response:
        """RFC 6749, 4.1.1: asks the person whether it was them who typed `opsgate login`."""
        asked, who = terminals.wish(_once(request)), await visitor(request, house)
        if who is None:
            return to_sign_in(house, f"{request.url.path}?{request.url.query}")
        facts: dict[str, Any] = {"who": who.principal.name, "name": asked.name, "query": request.url.query}
        return show("terminal", leads_to=_origin(asked), csrf=csrf(request, house), **facts)

    @pages.post("/oauth/authorize")
    async def authorized(request: Request, house: HouseDep) -> Response:
        asked, fields = terminals.wish(_once(request)), await sent(request, house)
        who = await _signed_in(request, house)
        if fields.get("allow") != "yes":
            return RedirectResponse(asked.back(error="access_denied"), 303)
        return RedirectResponse(asked.back(code=await terminals.grant(house.gate, who, asked)), 303)

    @pages.get("/device")
    async def device(request: Request, house: HouseDep, user_code: str = "") -> Response:
        """Where the person types the code of a terminal that has no browser."""
        who = await visitor(request, house)
        if who is None:
            return to_sign_in(house, f"/device?user_code={_letters(user_code)}" if user_code else "/device")
        return show(
            "device", who=who.principal.name, user_code=_letters(user_code), csrf=csrf(request, house), words=""
        )

    @pages.post("/device")
    async def device_sent(request: Request, house: HouseDep) -> Response:
        """First the code, then, with the machine in sight, yes or no."""
        fields, who = await sent(request, house), await _signed_in(request, house)
        typed, said = _letters(fields.get("user_code", "")), fields.get("allow")
        await not_too_often(request, house, f"device-code {who.id}")
        facts: dict[str, Any] = {"who": who.principal.name, "user_code": typed, "csrf": csrf(request, house)}
        try:
            if said in ("yes", "no"):
                found = await terminals.answer(house.gate, who, typed, said == "yes")
                return show("device-done", name=found.name, allowed=said == "yes")
            found = await terminals.waiting(house.gate, typed)
        except GateError as error:
            return show("device", status=error.status, words=error.detail, **facts)
        seconds = (house.gate.clock.now_ns() - found.since_ns) // NS
        return show("device-confirm", name=found.name, ip=found.ip, seconds=seconds, **facts)

    return pages


def _once(request: Request) -> dict[str, str]:
    """The query, when no name comes twice."""
    pairs = request.query_params.multi_items()
    if len(dict(pairs)) != len(pairs):
        raise Refused(Code.BAD_INPUT, 422, "Send each parameter once.")
    return dict(pairs)


def _origin(asked: terminals.Wish) -> str:
    return asked.redirect_uri.removesuffix("/callback")


def _letters(user_code: str) -> str:
    """As the terminal shows it: four letters, a dash, four letters."""
    letters = "".join(c for c in user_code.upper() if c in terminals.LETTERS)[:8]
    return f"{letters[:4]}-{letters[4:]}" if letters else ""


async def _signed_in(request: Request, house: House) -> Asker:
    who = await visitor(request, house)
    if who is None:
        raise Refused(Code.UNAUTHENTICATED, 401, "Your sign-in has ended. Sign in again, then come back.")
    return who
