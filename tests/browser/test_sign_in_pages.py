"""Signing in by a real browser at a real provider: the chat room knows who it is, and the small pages fit a phone."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.people import ARTIFACTS
from tests.integration.test_device_flow import ASKED, device, poll
from tests.rig.gateways import Desk, desk

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk(tmp_path_factory.mktemp("sign-in-pages")) as found:
        yield found


@pytest.fixture(params=["light", "dark"])
def page(browser: Browser, at: Desk, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A phone. At the end no page may have had an error or broken its own policy."""
    size = {"width": 390, "height": 780}
    context = browser.new_context(base_url=at.url, viewport=size, color_scheme=request.param)  # type: ignore[arg-type]
    troubles: list[str] = []
    shown = context.new_page()
    shown.on("pageerror", lambda error: troubles.append(str(error)))
    shown.on("console", lambda said: troubles.append(said.text) if "Content Security" in said.text else None)
    yield shown
    context.close()
    assert troubles == []


def fits(page: Page, name: str) -> None:
    """Nothing sticks out at the side; a picture is kept for people to look at."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"{name}.png")


def sign_in(page: Page, who: str) -> None:
    page.get_by_test_id("begin").click()
    page.get_by_role("button", name=who, exact=True).click()


def test_alice_signs_in_uses_the_chat_room_and_signs_out(page: Page, at: Desk) -> None:
    """By her session alone: no token is in the page, and what she types is hers."""
    page.goto("/login")
    fits(page, "login")
    sign_in(page, "Alice")
    expect(page.locator('#me [data-person="alice"]')).to_be_attached()
    expect(page.locator("body")).to_have_attribute("data-live", "yes")
    assert page.evaluate("sessionStorage.length") == 0
    assert page.evaluate("document.cookie") == ""
    page.get_by_test_id("line").fill("/ops whoami")
    page.get_by_test_id("line").press("Enter")
    expect(page.get_by_test_id("messages")).to_contain_text("Alice")
    page.goto("/logout")
    fits(page, "logout")
    page.get_by_role("button", name="Sign out here").click()
    expect(page.get_by_role("heading")).to_have_text("You are signed out")


def test_a_terminal_is_let_in_by_a_code(page: Page, at: Desk) -> None:
    """Typed on a phone; the page shows which machine asks."""
    asked = device(at)
    page.goto("/device")
    sign_in(page, "Bob")
    fits(page, "device")
    page.get_by_label("Code").fill(asked["user_code"].lower())
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("dl")).to_contain_text("server-7")
    fits(page, "device-confirm")
    page.get_by_role("button", name="Let it in").click()
    expect(page.get_by_role("heading")).to_have_text("The terminal is signed in")
    assert poll(at, asked["device_code"])["token_type"] == "Bearer"


def test_the_terminals_own_port_is_reached_from_the_page(page: Page, at: Desk) -> None:
    """The page's policy lets its form lead there, and nowhere else."""
    there: list[str] = []

    def listen(route: Route) -> None:
        there.append(route.request.url)
        route.fulfill(body="ok")

    page.route("http://127.0.0.1:7777/**", listen)
    page.goto(f"/oauth/authorize?{urlencode({**ASKED, 'redirect_uri': 'http://127.0.0.1:7777/callback'})}")
    sign_in(page, "Alice")
    fits(page, "terminal")
    page.get_by_role("button", name="Let it in").click()
    page.wait_for_url("http://127.0.0.1:7777/callback**")
    assert "code=" in there[0]
