"""One person in front of the chat room, as the browser tests speak of them.

Finds things only by what the page promises to keep: `data-testid`, `data-invocation`, `data-state`.
"""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import ConsoleMessage, Locator, Page, expect

ARTIFACTS = Path(__file__).resolve().parents[2] / "artifacts"


class Somebody:
    """One browser window. `troubles`: errors of the page, which no test may cause."""

    def __init__(self, page: Page, persona: str) -> None:
        self.page = page
        self.troubles: list[str] = []
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("console", self._listen)
        page.goto(f"/?as={persona}")
        self._arrived(persona)

    def _listen(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            self.troubles.append(message.text)

    def become(self, persona: str) -> None:
        """Switch as people do; on a narrow screen the practice room is in the menu."""
        if self.page.locator("#menu").is_visible():
            self.page.locator("#menu").click()
        self.page.get_by_test_id(f"persona-{persona}").click()
        self._arrived(persona)

    def _arrived(self, persona: str) -> None:
        expect(self.page.locator(f'#me [data-person="{persona}"]')).to_be_attached()
        expect(self.page.locator("body")).to_have_attribute("data-live", "yes")

    @property
    def line(self) -> Locator:
        return self.page.get_by_test_id("line")

    def say(self, text: str) -> Locator:
        """Type a line, press Enter, and wait for the answer; gives the entry of the line."""
        said = self.page.get_by_test_id("entry")
        before = said.count()
        self.line.press_sequentially(text)
        self.line.press("Enter")
        expect(said).to_have_count(before + 1)
        expect(said.last.get_by_test_id("card").first).to_be_visible()
        return said.last

    def ask(self, text: str) -> str:
        """Say a line that becomes an invocation; gives its id."""
        entry = self.say(text)
        expect(entry).to_have_attribute("data-invocation", re.compile("^inv_"))
        return entry.get_attribute("data-invocation") or ""

    def entry(self, invocation: str) -> Locator:
        return self.page.locator(f'[data-testid="messages"] > [data-invocation="{invocation}"]')

    def press(self, invocation: str, action: str) -> None:
        """Press a button of a card and confirm."""
        self.entry(invocation).get_by_test_id(f"button-{action}").click()
        self.page.get_by_test_id("confirm").click()

    def keep_picture(self, name: str) -> None:
        """A screenshot that stays as an artifact."""
        ARTIFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=ARTIFACTS / f"{name}.png", animations="disabled")
