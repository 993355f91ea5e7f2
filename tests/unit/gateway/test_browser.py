"""A browser's cookies and forms: what they are named, and what a call must prove that rests on them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Request, Response

from gateway.api import browser
from gateway.domain.errors import Refused
from gateway.flows.sessions import csrf_of
from gateway.flows.sign_in import own_path

TOKEN = "opt_" + "t" * 43
SECURE, LAPTOP = "https://ops.acme.com", "http://127.0.0.1:8420"


def house(public_url: str) -> Any:
    return SimpleNamespace(gate=SimpleNamespace(public_url=public_url))


def call(method: str = "POST", **headers: str) -> Request:
    raw = [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": method, "headers": raw, "path": "/", "query_string": b""})


def test_on_https_the_cookie_is_bound_to_the_host() -> None:
    """`__Host-`: Secure, no Domain, the whole path; no other host and no plain http can set or read it."""
    response = Response()
    browser.give(response, house(SECURE), TOKEN)
    parts = [part.strip() for part in response.headers["set-cookie"].split(";")]
    assert parts[0] == f"__Host-opsgate={TOKEN}"
    assert {"HttpOnly", "Secure", "SameSite=lax", "Path=/", "Max-Age=86400"} == set(parts[1:])


def test_on_a_laptop_the_cookie_works_without_https() -> None:
    """Browsers take no `__Host-` cookie over http."""
    response = Response()
    browser.give(response, house(LAPTOP), TOKEN)
    assert response.headers["set-cookie"].startswith(f"opsgate={TOKEN};")
    assert "Secure" not in response.headers["set-cookie"]


def test_a_cookie_of_the_other_name_is_not_read() -> None:
    """One that somebody set over http does not count on https."""
    assert browser.read(call(cookie=f"opsgate={TOKEN}"), house(SECURE)) == ""
    assert browser.read(call(cookie=f"__Host-opsgate={TOKEN}"), house(SECURE)) == TOKEN


def test_only_a_session_is_taken_from_a_cookie() -> None:
    """Not a persona's token, nor an adapter's."""
    assert browser.token_of(call("GET", cookie="opsgate=eyJhbGciOi.x.y"), house(LAPTOP)) == ""
    assert browser.token_of(call("GET", cookie=f"opsgate={TOKEN}"), house(LAPTOP)) == TOKEN


@pytest.mark.parametrize(
    ("headers", "good"),
    [
        ({"sec_fetch_site": "same-origin"}, True),
        ({"sec_fetch_site": "same-site"}, False),
        ({"sec_fetch_site": "cross-site"}, False),
        ({"sec_fetch_site": "none"}, False),
        ({"sec_fetch_site": "cross-site", "origin": SECURE}, False),
        ({"origin": SECURE}, True),
        ({"origin": f"{SECURE}.evil.example"}, False),
        ({"origin": "http://ops.acme.com"}, False),
        ({"origin": "null"}, False),
        ({}, False),
    ],
)
def test_a_change_must_come_from_a_page_of_ours(headers: dict[str, str], good: bool) -> None:
    """By what the browser says of it; when it says nothing, it does not count. And always with the page's value."""
    cookie = {"cookie": f"__Host-opsgate={TOKEN}"}
    request = call(**cookie, **headers, x_opsgate_csrf=csrf_of(TOKEN))
    if good:
        assert browser.token_of(request, house(SECURE)) == TOKEN
    else:
        with pytest.raises(Refused):
            browser.token_of(request, house(SECURE))
    for wrong in ("", "x", csrf_of("opt_" + "u" * 43), "é"):
        with pytest.raises(Refused):
            browser.token_of(call(**cookie, **headers, x_opsgate_csrf=wrong), house(SECURE))


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\evil",
        "evil",
        "/a\r\nSet-Cookie: x=y",
        "/\t/evil.example",
        "",
        "/" + "a" * 2001,
        "/é",
    ],
)
def test_t55_only_own_paths_are_gone_to(elsewhere: str) -> None:
    """Everything else becomes the chat room."""
    assert own_path(elsewhere) == "/"


def test_own_paths_are_kept() -> None:
    """With their query."""
    for path in (
        "/",
        "/device?user_code=BCDF-GHJK",
        "/oauth/authorize?redirect_uri=http%3A%2F%2F127.0.0.1%3A7%2Fcallback",
    ):
        assert own_path(path) == path
