"""What the small pages share: who looks at them, what they send, and how trouble is told there. Refuses JSON."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.routing import APIRoute

from gateway.api import browser
from gateway.domain.directory import Asker
from gateway.domain.errors import GateError, Refused
from gateway.domain.identity import IdentityProvider
from gateway.flows import identify
from gateway.flows.sessions import csrf_of
from gateway.house import House
from opsgate.contracts.problems import Code

NO_PROVIDER = "No identity provider is set up here. Ask the operator to set OPSGATE_OIDC_ISSUER and what goes with it."


class Show(Protocol):
    """Makes a page from a template's name and what it says; see `gateway.console.small_pages`."""

    def __call__(self, page: str, *, status: int = 200, leads_to: str = "", **facts: object) -> Response: ...


def page_router(show: Show) -> APIRouter:
    """Routes whose errors are pages too, and which the API's description leaves out."""

    class Page(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            answer = super().get_route_handler()

            async def tell(request: Request) -> Response:
                try:
                    return await answer(request)
                except GateError as error:
                    return show("trouble", status=error.status, words=error.detail)

            return tell

    return APIRouter(include_in_schema=False, route_class=Page)


def provider_of(house: House) -> IdentityProvider:
    if house.provider is None:
        raise Refused(Code.NOT_FOUND, 404, NO_PROVIDER)
    return house.provider


async def visitor(request: Request, house: House) -> Asker | None:
    """Who is signed in in this browser."""
    token = browser.read(request, house)
    if not token.startswith(identify.OPAQUE):
        return None
    try:
        return await identify.in_browser(house.gate, token)
    except Refused:
        return None


def csrf(request: Request, house: House) -> str:
    """What the forms of a page send along."""
    return csrf_of(browser.read(request, house))


async def sent(request: Request, house: House) -> dict[str, str]:
    """The fields of a form that a page of ours sent. Raises Refused (403) when another did."""
    fields = await form(request)
    browser.check(request, house, browser.read(request, house), fields.get("csrf", ""))
    return fields


async def form(request: Request) -> dict[str, str]:
    """Fields of a form. A name that comes twice is refused: two readers could take two meanings from it."""
    try:
        pairs = parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=30)
    except ValueError:
        pairs = [("", "")] * 2
    if len(dict(pairs)) != len(pairs):
        raise Refused(Code.BAD_INPUT, 400, "Send a form (application/x-www-form-urlencoded) with each field once.")
    return dict(pairs)


def to_sign_in(house: House, then: str) -> Response:
    """Sends the browser to sign in and back to `then`; by the public address, where its cookies are."""
    return RedirectResponse(f"{house.gate.public_url}/login?then={quote(then, safe='')}", 303)


async def not_too_often(request: Request, house: House, what: str) -> str:
    """Counts what anybody may do without a name; gives the caller's address. Raises Refused (429)."""
    ip = request.client.host if request.client else "-"
    wait = await house.gate.limits.take(f"{what} {ip}")
    if wait:
        raise Refused(Code.RATE_LIMITED, 429, f"That was a lot at once. Wait {wait} s.", retry_after_s=wait)
    return ip
