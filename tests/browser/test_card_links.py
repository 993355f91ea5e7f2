"""A card's links in the web chat: they open a page of the web beside the room, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.people import Somebody

pytestmark = pytest.mark.browser

DRAW = """async (urls) => {
  const { drawCard } = await import("/console/static/any/cards.js");
  const links = urls.map((url) => ({ label: `Open ${url}`, url }));
  const card = { tone: "denied", title: "Not linked yet", text: "", facts: [], bullets: [], progress: null,
                 buttons: [], examples: [], links, footer: "" };
  document.body.replaceChildren(drawCard(card, { onButton: null, onExample: null }));
}"""


def test_t22_a_link_opens_a_page_of_the_web_and_never_runs_anything(enter: Callable[..., Somebody]) -> None:
    """Another scheme is not drawn at all, however it is written; the page that opens cannot reach back."""
    page = enter("alice").page
    good = ["https://ops.acme.test/link/abc", "http://127.0.0.1:8420/link/abc?x=<b>"]
    bad: list[Any] = [
        "javascript:alert(1)",
        " javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,x",
        "//x",
        "",
    ]
    page.evaluate(DRAW, [*good, *bad])
    drawn = page.get_by_test_id("card-link")
    expect(drawn).to_have_count(len(good))
    for number, url in enumerate(good):
        link = drawn.nth(number)
        expect(link).to_have_text(f"Open {url}")
        expect(link).to_have_attribute("href", url)
        expect(link).to_have_attribute("target", "_blank")
        expect(link).to_have_attribute("rel", "noopener noreferrer")
