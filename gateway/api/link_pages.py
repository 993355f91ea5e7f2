"""The page behind a link: which chat account would be whose, and the click that makes it so. Decides nothing."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from gateway.api.callers import HouseDep
from gateway.api.pages import Show, csrf, page_router, sent, to_sign_in, visitor
from gateway.flows import linking

Secret = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{43}$")]


def link_pages(show: Show) -> APIRouter:
    router = page_router(show)

    @router.get("/link/{secret}")
    async def look(request: Request, house: HouseDep, secret: Secret) -> Response:
        """Says exactly what would be linked to whom. Whoever is not signed in does so first."""
        who = await visitor(request, house)
        if who is None:
            return to_sign_in(house, f"/link/{secret}")
        offer = await linking.look(house.gate, secret, who)
        return show("link", offer=offer, who=who.principal, csrf=csrf(request, house), action=f"/link/{secret}")

    @router.post("/link/{secret}")
    async def confirm(request: Request, house: HouseDep, secret: Secret) -> Response:
        await sent(request, house)
        who = await visitor(request, house)
        if who is None:
            return to_sign_in(house, f"/link/{secret}")
        return show("linked", offer=await linking.confirm(house.gate, secret, who), who=who.principal)

    return router
