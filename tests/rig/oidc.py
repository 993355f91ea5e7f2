"""The real OpenID provider of `dev.identity`, driven by plain HTTP; and a browser that keeps cookies and follows links.

Refuses to look inside either: what a person could not click, this does not do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2

from dev.identity import PEOPLE, IdentityProvider


@contextmanager
def identity_provider(folder: Path, *gateway_urls: str) -> Iterator[IdentityProvider]:
    """A provider whose one client is the gateway at these addresses."""
    provider = IdentityProvider(gateway_urls, folder, people={k: dict(v) for k, v in PEOPLE.items()}).start()
    try:
        yield provider
    finally:
        provider.stop()


def rotate(provider: IdentityProvider, *, keep: bool = False) -> None:
    """New signing keys; with `keep`, the old one is still published."""
    address = f"{provider.issuer}/practice/rotate{'?keep=1' if keep else ''}"
    httpx2.post(address, trust_env=False).raise_for_status()


def describe(provider: IdentityProvider, sub: str, **claims: Any) -> None:
    """What the provider says about somebody from now on."""
    body = {sub: {**PEOPLE.get(sub, {}), **claims}}
    httpx2.put(f"{provider.issuer}/practice/people", json=body, trust_env=False).raise_for_status()


class Browser:
    """Cookies for each host, redirects one by one, forms as the page has them. Says where its calls come from."""

    def __init__(self, gateway: str) -> None:
        self.gateway = gateway
        self.http = httpx2.Client(trust_env=False, timeout=15, follow_redirects=False)
        self.trail: list[str] = []

    def close(self) -> None:
        self.http.close()

    def get(self, address: str, *, follow: bool = True) -> httpx2.Response:
        return self._go("GET", address, follow=follow)

    def post(self, address: str, fields: Mapping[str, str], *, follow: bool = True, site: str = "same-origin") -> Any:
        return self._go("POST", address, data=dict(fields), headers={"Sec-Fetch-Site": site}, follow=follow)

    def _go(self, method: str, address: str, *, follow: bool, **more: Any) -> httpx2.Response:
        answer = self.http.request(method, urljoin(self.gateway + "/", address), **more)
        self.trail = [str(answer.url)]
        while follow and answer.has_redirect_location:
            there = urljoin(str(answer.url), answer.headers["location"])
            self.trail.append(there)
            answer = self.http.get(there)
        return answer

    def sign_in(self, who: str, *, mfa: bool = False, then: str = "/v1/session") -> httpx2.Response:
        """From the sign-in page to what follows it, as `who`."""
        return self.choose(self.get(link(self.get(f"/login?then={then}"))), who, mfa=mfa)

    def choose(self, page: httpx2.Response, who: str, *, mfa: bool = False, follow: bool = True) -> httpx2.Response:
        """On the provider's page: be this person."""
        assert "Who are you?" in page.text, page.text
        fields = {"who": who} | ({"mfa": "yes"} if mfa else {})
        return self._go("POST", urljoin(str(page.url), form(page)[0]), data=fields, follow=follow)

    def to_callback(self, page: httpx2.Response, who: str, *, mfa: bool = False) -> str:
        """The address the provider sends the browser back to, not opened yet."""
        answer = self.choose(page, who, mfa=mfa, follow=False)
        while "/login/callback" not in answer.headers["location"]:
            answer = self.http.get(urljoin(str(answer.url), answer.headers["location"]))
        return urljoin(str(answer.url), answer.headers["location"])

    def session(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/v1/session").raise_for_status().json()
        return found

    def api(self, method: str, path: str, csrf: str = "", site: str = "same-origin", **more: Any) -> httpx2.Response:
        """A call as a page's script makes it."""
        headers = {"Sec-Fetch-Site": site, "X-Opsgate-CSRF": csrf, **more.pop("headers", {})}
        return self.http.request(method, self.gateway + path, headers={k: v for k, v in headers.items() if v}, **more)


def link(page: httpx2.Response) -> str:
    """Where the page's main link leads."""
    found = re.search(r'<a class="button primary" href="([^"]+)"', page.text)
    assert found, page.text
    return urljoin(str(page.url), unescape(found[1]))


def form(page: httpx2.Response) -> tuple[str, dict[str, str]]:
    """Where the page's form is sent, and its hidden fields."""
    action = re.search(r'<form method="post" action="([^"]*)"', page.text)
    assert action, page.text
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text)
    return unescape(action[1]), {name: unescape(value) for name, value in hidden}


def told(page: httpx2.Response) -> str:
    """The trouble a page tells of."""
    found = re.search(r'data-testid="trouble">(.*?)</p>', page.text, re.DOTALL)
    assert found, page.text
    return unescape(found[1])


def host(address: str) -> str:
    return urlsplit(address).netloc
