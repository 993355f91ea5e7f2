"""Signing in and out by a browser, and approving by a step-up link. Pages only; decides nothing."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import RedirectResponse, Response

from gateway.api import browser
from gateway.api.callers import HouseDep
from gateway.api.pages import Show, csrf, not_too_often, page_router, provider_of, sent, to_sign_in, visitor
from gateway.domain.identity import Returned
from gateway.domain.words import card
from gateway.flows import proven_vote, sessions, sign_in
from gateway.house import House

Then = Annotated[str, Query(max_length=2000)]
Secret = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{43}$")]
Told = Annotated[str, Query(max_length=2048)]


def sign_in_router(show: Show) -> APIRouter:
    router = page_router(show)

    @router.get("/login")
    async def login(request: Request, house: HouseDep, then: Then = "/", left: bool = False) -> Response:
        """Says where signing in happens, and leads there."""
        path = sign_in.own_path(then)
        if await visitor(request, house) is not None:
            return RedirectResponse(path, 303)
        begin = f"{house.gate.public_url}/login/begin?then={quote(path, safe='')}"
        return show("login", provider=provider_of(house).name, begin=begin, left=left)

    @router.get("/login/begin")
    async def begin(request: Request, house: HouseDep, then: Then = "/") -> Response:
        await not_too_often(request, house, "sign-in")
        return await _go(request, house, then, "")

    @router.get("/login/callback")
    async def callback(
        request: Request, house: HouseDep, state: Told = "", code: Told = "", error: Told = "", iss: Told = ""
    ) -> Response:
        """The provider sends the browser back here, whatever the sign-in was for."""
        holds = browser.read(request, house, browser.SIGNING_IN)
        returned = Returned(code, error, iss)
        proof = await sign_in.prove(house.gate, provider_of(house), state, holds, returned)
        if proof.step_up:
            answer = await proven_vote.cast(house.gate, proof)
            return show("voted", card=answer.card, refused=answer.kind == "refusal")
        ip = request.client.host if request.client else "-"
        name = request.headers.get("user-agent", "browser")
        before = browser.read(request, house)
        made = await sign_in.open_session(house.gate, proof, name, ip, before)
        response = RedirectResponse(proof.then, 303)
        browser.give(response, house, made.token)
        return response

    @router.get("/logout")
    async def leave(request: Request, house: HouseDep) -> Response:
        who = await visitor(request, house)
        if who is None:
            return to_sign_in(house, "/")
        return show("logout", who=who.principal.name, csrf=csrf(request, house))

    @router.post("/logout")
    async def left(request: Request, house: HouseDep) -> Response:
        fields, who = await sent(request, house), await visitor(request, house)
        if who is not None and fields.get("everywhere"):
            await sessions.sign_out_everywhere(house.gate, who)
        else:
            await sessions.sign_out(house.gate, browser.read(request, house))
        response = RedirectResponse("/login?left=true", 303)
        browser.take(response, house)
        return response

    @router.get("/step-up/{secret}")
    async def step_up(house: HouseDep, secret: Secret) -> Response:
        """What the link is about, before anybody signs in for it."""
        step, provider = await proven_vote.look(house.gate, secret), provider_of(house)
        shown, inv = card(step.inv), step.inv
        return show(
            "step-up",
            card=shown,
            asked_by=inv.asked_by_name,
            current=step.is_current,
            changed=proven_vote.CHANGED,
            provider=provider.name,
            begin=f"/step-up/{secret}/begin",
        )

    @router.get("/step-up/{secret}/begin")
    async def step_up_begin(request: Request, house: HouseDep, secret: Secret) -> Response:
        await not_too_often(request, house, "sign-in")
        step = await proven_vote.look(house.gate, secret)
        return await _go(request, house, "/", step.code.digest)

    return router


async def _go(request: Request, house: House, then: str, step_up: str) -> Response:
    """To the provider, with what ties its answer to this browser."""
    holds = browser.read(request, house, browser.SIGNING_IN)
    began = await sign_in.begin(house.gate, provider_of(house), holds, then, step_up)
    response = RedirectResponse(began.url, 303)
    browser.give(response, house, began.browser, browser.SIGNING_IN)
    return response
