"""A browser's session: its cookies, and what a call that rests on one must prove beside it. No call rests on a cookie
that another site could have made: what changes something needs the page's own CSRF value and the page's own origin.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import Response

from gateway.domain.errors import Refused
from gateway.domain.invocation import NS
from gateway.flows.identify import OPAQUE
from gateway.flows.sessions import CONSOLE_NS, is_csrf
from gateway.flows.sign_in import LIFE_NS
from gateway.house import House
from opsgate.contracts.problems import Code

CSRF_HEADER = "X-Opsgate-CSRF"
_SAFE = ("GET", "HEAD", "OPTIONS")
SESSION, SIGNING_IN = "opsgate", "opsgate-sign-in"


def _name(house: House, cookie: str) -> str:
    """`__Host-` binds a cookie to this very host and to https; on plain http, a laptop's, no browser takes it."""
    return f"__Host-{cookie}" if house.gate.public_url.startswith("https:") else cookie


def read(request: Request, house: House, cookie: str = SESSION) -> str:
    """What the browser holds: a token, or nothing."""
    value = request.cookies.get(_name(house, cookie), "")
    return value if value.isascii() and len(value) <= 200 else ""


def give(response: Response, house: House, value: str, cookie: str = SESSION) -> None:
    life_ns = CONSOLE_NS if cookie == SESSION else LIFE_NS
    response.set_cookie(
        _name(house, cookie),
        value,
        max_age=life_ns // NS,
        path="/",
        secure=house.gate.public_url.startswith("https:"),
        httponly=True,
        samesite="lax",
    )


def take(response: Response, house: House, cookie: str = SESSION) -> None:
    response.delete_cookie(
        _name(house, cookie),
        path="/",
        secure=house.gate.public_url.startswith("https:"),
        httponly=True,
        samesite="lax",
    )


def from_own_page(request: Request, house: House) -> bool:
    """Whether the browser says that a page of this gateway sent the call. Without a word of it: no."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        return site == "same-origin"
    own = urlsplit(house.gate.public_url)
    return origin == f"{own.scheme}://{own.netloc}"


def check(request: Request, house: House, token: str, csrf: str) -> None:
    """Raises Refused (403) for a call that another site's page may have made the browser send."""
    if not (from_own_page(request, house) and is_csrf(token, csrf)):
        words = f"This call does not come from a page of Opsgate. Load the page again; programs send {CSRF_HEADER}."
        raise Refused(Code.FORBIDDEN, 403, words)


def token_of(request: Request, house: House) -> str:
    """The session's token for an API call. Raises Refused when it would change something and proves no page of ours."""
    token = read(request, house)
    if not token.startswith(OPAQUE):
        return ""
    if request.method not in _SAFE:
        check(request, house, token, request.headers.get(CSRF_HEADER, ""))
    return token
