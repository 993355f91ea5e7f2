"""The approvals page in a real browser: what waits, deciding with keys alone, live, on a phone, in the dark."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.people import Somebody

pytestmark = pytest.mark.browser

Enter = Callable[..., Somebody]
DEPLOY = "/ops deploy production api-service --version 1.4.2"


def open_page(person: Somebody) -> Somebody:
    person.page.goto("/approvals")
    expect(person.page.locator("body")).to_have_attribute("data-live", "yes")
    return person


def fresh(person: Somebody) -> str:
    """An asking that is not the one of another story."""
    return person.ask(f"{DEPLOY} --reason story-{time.time_ns()}")


def item(person: Somebody, name: str, invocation: str) -> Locator:
    return person.page.locator(f'[data-list="{name}"] [data-id="{invocation}"]')


def test_what_waits_is_shown_with_everything_one_decides_by_and_approved_there(enter: Enter) -> None:
    """Target, reasons, needs and time; after the yes it moves from waiting to decided, and Alice sees it too."""
    alice, bob = enter("alice"), enter("bob")
    invocation = fresh(alice)
    open_page(bob)
    open_page(alice)
    card = item(bob, "waiting", invocation)
    expect(card).to_contain_text("1 service: api-service in production, 3 replicas")
    expect(card).to_contain_text("needs the approval of 1 person from owners:api-service")
    expect(card).to_contain_text("0 of 1 from owners:api-service")
    expect(card.get_by_test_id("left")).to_contain_text("Expires in 29:")
    expect(bob.page.get_by_test_id("waiting").last).not_to_have_text("0")
    bob.keep_picture("approvals")
    expect(item(alice, "asked", invocation)).to_contain_text("waits for approval")
    expect(item(alice, "waiting", invocation)).to_have_count(0)

    card.get_by_test_id("do-approve").click()
    bob.page.get_by_test_id("confirm").click()
    expect(item(bob, "waiting", invocation)).to_have_count(0)
    expect(item(bob, "decided", invocation)).to_contain_text("Bob approved")
    expect(item(alice, "asked", invocation)).to_contain_text("done", timeout=20_000)


def test_one_decides_with_the_keyboard_alone(enter: Enter) -> None:
    """j to the first, r, the reason, Enter."""
    alice, bob = enter("alice"), enter("bob")
    invocation = fresh(alice)
    open_page(bob)
    expect(item(bob, "waiting", invocation)).to_be_visible()
    keys = bob.page.keyboard
    for _ in range(30):
        keys.press("j")
        if bob.page.evaluate("document.activeElement?.dataset.id") == invocation:
            break
    keys.press("r")
    expect(bob.page.get_by_test_id("reason")).to_be_focused()
    keys.type("not during lunch")
    keys.press("Tab")
    keys.press("Tab")
    keys.press("Enter")
    expect(item(bob, "decided", invocation)).to_contain_text("Bob rejected: not during lunch")


def test_what_others_ask_and_cancel_comes_and_goes_by_itself(enter: Enter) -> None:
    """No reload: it appears while Bob looks, and is gone when Alice cancels."""
    bob, alice = open_page(enter("bob")), enter("alice")
    invocation = fresh(alice)
    expect(item(bob, "waiting", invocation)).to_be_visible()
    expect(bob.page).to_have_title(re.compile(r"^\(\d+\) Approvals"))
    alice.press(invocation, "cancel")
    expect(item(bob, "waiting", invocation)).to_have_count(0)


def test_a_refusal_is_told_where_it_was_pressed(enter: Enter) -> None:
    """Decided in another window while the question stood open: the old card decides nothing."""
    alice, bob = enter("alice"), enter("bob")
    invocation = fresh(alice)
    open_page(bob)
    item(bob, "waiting", invocation).get_by_test_id("do-approve").click()
    alice.press(invocation, "cancel")
    expect(item(bob, "waiting", invocation)).to_have_count(0)
    bob.page.get_by_test_id("confirm").click()
    expect(bob.page.get_by_test_id("announcer")).to_contain_text("nothing to decide any more")


def test_a_vote_is_taken_back_there(enter: Enter) -> None:
    """Two must agree to a migration: the owner changes his mind."""
    alice, bob = enter("alice"), enter("bob")
    invocation = alice.ask(f"/ops migrate production api-service --version 1.4.2 --reason story-{time.time_ns()}")
    open_page(bob)
    item(bob, "waiting", invocation).get_by_test_id("do-approve").click()
    bob.page.get_by_test_id("confirm").click()
    item(bob, "decided", invocation).get_by_test_id("do-withdraw").click()
    bob.page.get_by_test_id("confirm").click()
    expect(item(bob, "waiting", invocation)).to_be_visible()
    alice.press(invocation, "cancel")


@pytest.mark.parametrize(("name", "width", "dark"), [("approvals-dark", 1280, True), ("approvals-phone", 360, False)])
def test_it_is_pleasant_in_the_dark_and_on_a_phone(enter: Enter, name: str, width: int, dark: bool) -> None:
    """Nothing is cut off, nothing scrolls sideways."""
    alice, bob = enter("alice"), enter("bob", width=width, height=740, dark=dark)
    invocation = fresh(alice)
    open_page(bob)
    expect(item(bob, "waiting", invocation)).to_be_visible()
    assert bob.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    bob.keep_picture(name)
    alice.press(invocation, "cancel")


def test_whoever_has_nothing_to_do_is_told_so(enter: Enter) -> None:
    dave = open_page(enter("dave"))
    expect(dave.page.get_by_test_id("asked")).to_contain_text("Type a command in the chat room")
    expect(dave.page.get_by_test_id("decided")).to_contain_text("You have not decided anything yet")
