"""People in front of the chat room: each in a browser of their own, on the system's Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.people import Somebody

if TYPE_CHECKING:
    from tests.rig.stages import EmbeddedStage

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PATIENCE_MS = 15_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium from the system. Fails when there is none: `make test` says how to install it."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path, "The browser tests need Chromium. Install it with: apt-get install chromium"
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def enter(browser: Browser, embedded: EmbeddedStage) -> Iterator[Callable[..., Somebody]]:
    """`enter("alice")`: Alice, in a browser of her own. At the end nobody's page may have had an error."""
    people: list[Somebody] = []

    def someone(persona: str, width: int = 1280, height: int = 860, dark: bool = False) -> Somebody:
        context = browser.new_context(
            base_url=embedded.url,
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
        )
        context.set_default_timeout(PATIENCE_MS)
        people.append(Somebody(context.new_page(), persona))
        return people[-1]

    yield someone
    for person in people:
        person.page.context.close()
    assert [person.troubles for person in people] == [[] for _ in people]
