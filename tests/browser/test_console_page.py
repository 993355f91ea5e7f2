"""The page as bytes: small, cacheable, and nothing on it can be turned into somebody else's script."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from gateway.console import pages

FIRST_VIEW_BYTES = 100 * 1024
MARKUP_OR_CODE = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function")
STATIC = Path(pages.__file__).parent / "static"


def client_of(profile: str) -> TestClient:
    app = FastAPI()
    app.include_router(pages.console_router(profile))
    return TestClient(app)


@pytest.fixture
def page() -> Iterator[TestClient]:
    with client_of("embedded") as client:
        yield client


def links_of(html: str) -> list[str]:
    return re.findall(r'(?:src|href)="(/[^"]+)"', html)


def test_everything_the_page_loads_is_its_own_and_under_100_kb(page: TestClient) -> None:
    """No other host, no build step, no library."""
    html, approvals = page.get("/").text, page.get("/approvals").text
    assert "://" not in html + approvals
    files = {link: page.get(link) for link in set(links_of(html + approvals)) if link.startswith("/console/")}
    assert {answer.status_code for answer in files.values()} == {200}
    assert {Path(link).name for link in files} == {path.name for path in STATIC.iterdir()} - {"small.css"}
    assert len(html.encode()) + sum(len(answer.content) for answer in files.values()) <= FIRST_VIEW_BYTES


def test_the_browser_may_keep_the_files_for_good_because_their_address_names_their_content(page: TestClient) -> None:
    """A page of an older build still gets its files, but may not keep them."""
    link = links_of(page.get("/").text)[0]
    assert "immutable" in page.get(link).headers["cache-control"]
    older = re.sub(r"static/[0-9a-f]+/", "static/0000/", link)
    assert page.get(older).headers["cache-control"] == "no-cache"
    assert page.get("/").headers["cache-control"] == "no-cache"


def test_the_policy_of_the_page_allows_no_inline_script_and_no_frame(page: TestClient) -> None:
    """The browser enforces what the code promises."""
    answer = page.get("/")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son[a-z]+=|\sstyle=|<style", answer.text)


def test_no_script_writes_html() -> None:
    """Everything people or the gateway said goes in as text."""
    for path in STATIC.glob("*.js"):
        written = path.read_text()
        assert not MARKUP_OR_CODE.search(written), path
        assert written.count("\n") < 400, path


def test_an_unknown_file_is_not_found(page: TestClient) -> None:
    """Names are looked up in a list; none ever reaches the file system."""
    for name in ("nothing.js", "..%2fpages.py", "%2e%2e%2fpages.py"):
        assert page.get(f"/console/static/0000/{name}").status_code == 404


def test_personas_are_offered_in_the_practice_room_only() -> None:
    """In production the page asks for a token and says nothing of being anyone."""
    with client_of("embedded") as practice, client_of("production") as production:
        assert "In development anyone can be anyone" in practice.get("/").text
        assert "Practice room" not in production.get("/").text
        assert "Access token" in production.get("/").text
