"""The first five minutes of a newcomer, in real browsers against the real embedded profile. Nothing is faked here."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.people import Somebody

ROLLOUT_MS = 30_000
PRODUCTION = "/ops deploy production api-service --version 1.4.2"
STAGING = "/ops deploy staging api-service"
ONLY_YOU = "Only you can see this"

Enter = Callable[..., Somebody]
pytestmark = pytest.mark.browser

WATCH_STATES = """(id) => {
  const list = document.querySelector('[data-testid="messages"]');
  window.seen = { states: [], most: 0 };
  const look = () => {
    const found = list.querySelectorAll(`:scope > [data-invocation="${id}"]`);
    window.seen.most = Math.max(window.seen.most, found.length);
    const state = found[0]?.dataset.state;
    if (state && window.seen.states.at(-1) !== state) window.seen.states.push(state);
  };
  look();
  new MutationObserver(look).observe(list, { childList: true });
}"""


def test_alice_asks_bob_approves_and_one_message_tells_the_story(enter: Enter) -> None:
    """A production deploy waits, Alice cannot approve it herself, Bob can, and everybody reads one message."""
    alice, bob = enter("alice"), enter("bob")

    asked = alice.ask(PRODUCTION)
    hers, his = alice.entry(asked), bob.entry(asked)
    expect(hers).to_have_attribute("data-state", "pending", timeout=1000)
    expect(hers.get_by_test_id("card")).to_have_attribute("data-tone", "waiting")
    expect(hers.get_by_test_id("card-text")).to_have_text(
        re.compile(r"1 approval from owners:api-service.*until \d\d:\d\d")
    )
    expect(hers.locator(".bullets li").first).not_to_be_empty()

    expect(his.get_by_test_id("who")).to_have_text("Alice")
    expect(his.get_by_test_id("said")).to_contain_text("deploy production api-service --version 1.4.2")
    expect(his.get_by_test_id("button-approve")).to_be_visible()
    expect(his.get_by_test_id("button-reject")).to_be_visible()
    bob.keep_picture("chat-room")

    alice.press(asked, "approve")
    expect(hers.get_by_test_id("note")).to_contain_text("You asked for this yourself")
    expect(hers.get_by_test_id("note")).to_contain_text(ONLY_YOU)
    expect(hers).to_have_attribute("data-state", "pending")
    expect(his.get_by_test_id("note")).to_have_count(0)

    alice.page.evaluate(WATCH_STATES, asked)
    bob.press(asked, "approve")
    for entry in (hers, his):
        expect(entry).to_have_attribute("data-state", "succeeded", timeout=ROLLOUT_MS)
        expect(entry.get_by_test_id("card-text").first).to_contain_text("Asked by Alice, approved by Bob")
        expect(entry.get_by_test_id("card-text").first).to_have_text(re.compile(r"\d+(\.\d)? (s|min)\b"))
        expect(entry.get_by_test_id("button-approve")).to_have_count(0)
    seen = alice.page.evaluate("window.seen")
    assert "running" in seen["states"]
    assert [seen["states"][0], seen["states"][-1]] == ["pending", "succeeded"]
    assert seen["most"] == 1

    his.get_by_test_id("open-thread").click()
    thread = bob.page.get_by_test_id("thread")
    expect(thread.get_by_test_id("votes")).to_contain_text("Bob approved")
    expect(thread.get_by_test_id("decision")).to_contain_text("Allowed")
    expect(thread.get_by_test_id("log").locator("li").first).to_be_visible()
    bob.keep_picture("chat-room-done")


def test_a_staging_deploy_runs_at_once_and_the_page_is_as_good_in_the_dark(enter: Enter) -> None:
    """Nobody needs to approve staging."""
    alice = enter("alice", dark=True)
    entry = alice.entry(alice.ask(STAGING))
    expect(entry).to_have_attribute("data-state", re.compile("queued|running|succeeded"))
    expect(entry.get_by_test_id("button-approve")).to_have_count(0)
    expect(entry).to_have_attribute("data-state", "succeeded", timeout=ROLLOUT_MS)
    expect(entry.get_by_test_id("card-text")).to_contain_text("Asked by Alice")
    alice.keep_picture("chat-room-dark")


def test_dave_is_denied_in_private_and_told_whom_to_ask(enter: Enter) -> None:
    """A guest learns which rule, what is missing and whom to ask; nobody else sees it. On a telephone too."""
    bob, dave = enter("bob"), enter("dave", width=360, height=740)
    denied = dave.ask("/ops deploy production api-service")
    entry = dave.entry(denied)
    expect(entry).to_have_attribute("data-state", "denied")
    expect(entry).to_contain_text(ONLY_YOU)
    expect(entry.get_by_test_id("card")).to_have_attribute("data-tone", "denied")
    expect(entry.get_by_test_id("card-text")).to_have_text(re.compile(r"\bask\b", re.IGNORECASE))
    dave.keep_picture("chat-room-narrow")
    assert dave.page.evaluate("document.documentElement.scrollWidth") == 360

    entry.get_by_test_id("open-thread").click()
    expect(dave.page.get_by_test_id("decision").locator("code").first).to_have_text(re.compile("^[a-z][a-z0-9_]*$"))
    dave.page.get_by_test_id("thread-close").click()
    expect(dave.page.get_by_test_id("thread")).to_be_hidden()
    expect(bob.entry(denied)).to_have_count(0)


@pytest.mark.parametrize(
    ("typed", "right"),
    [
        ("/ops deplyo staging api-service", "/ops deploy staging api-service"),
        ("/ops deploy prodution api-service", "/ops deploy production api-service"),
        ("/ops deploy staging", "/ops deploy"),
        ('/ops deploy staging api-service --reason "late', "/ops deploy"),
    ],
)
def test_a_mistake_is_answered_with_the_nearest_right_thing_to_click(enter: Enter, typed: str, right: str) -> None:
    """The example fills the line; the answer is private and nothing runs."""
    alice = enter("alice")
    entry = alice.say(typed)
    expect(entry.get_by_test_id("private")).to_contain_text(ONLY_YOU)
    expect(entry).not_to_have_attribute("data-invocation", re.compile("."))
    example = entry.get_by_test_id("example").first
    expect(example).to_contain_text(right)
    wanted = example.inner_text()
    example.click()
    expect(alice.line).to_have_value(wanted)
    expect(alice.line).to_be_focused()


def test_the_line_completes_from_the_catalog_and_knows_what_needs_approval(enter: Enter) -> None:
    """Tab takes, arrows choose, Enter takes what was chosen, Escape closes, the up-arrow recalls."""
    alice = enter("alice")
    line, offered = alice.line, alice.page.get_by_test_id("suggestion")
    line.press_sequentially("/ops depl")
    expect(offered.first).to_have_attribute("data-value", "deploy")
    line.press("Tab")
    expect(line).to_have_value("/ops deploy ")
    production = alice.page.locator('[data-testid="suggestion"][data-value="production"]')
    expect(production).to_contain_text("needs approval")
    line.press_sequentially("prod")
    line.press("ArrowDown")
    line.press("Enter")
    expect(line).to_have_value("/ops deploy production ")
    line.press_sequentially("api")
    line.press("Tab")
    expect(line).to_have_value("/ops deploy production api-service ")
    line.press_sequentially("--ver")
    line.press("Tab")
    expect(line).to_have_value("/ops deploy production api-service --version ")
    expect(alice.page.get_by_test_id("composer").get_by_test_id("hint")).to_contain_text("needs approval")
    line.press("Escape")
    expect(offered).to_have_count(0)

    line.fill("")
    alice.say("/ops whoami")
    expect(line).to_have_value("")
    line.press("ArrowUp")
    expect(line).to_have_value("/ops whoami")


def test_alice_sees_beforehand_what_she_may_not_do_and_dave_sees_no_command(enter: Enter) -> None:
    """Members see the whole catalog, with what each may do; somebody without a role only the conversation's words."""
    alice, dave = enter("alice"), enter("dave")
    alice.line.press_sequentially("/ops free")
    expect(alice.page.get_by_test_id("suggestion").first).to_contain_text("not allowed")
    alice.line.fill("/ops deploy staging api-service --br")
    alice.line.press("Tab")
    expect(alice.line).to_have_value("/ops deploy staging api-service --break-glass ")
    dave.line.press_sequentially("/ops depl")
    expect(dave.page.get_by_test_id("suggestion")).to_have_count(0)
    dave.line.fill("")
    dave.line.press_sequentially("/ops he")
    expect(dave.page.get_by_test_id("suggestion").first).to_have_attribute("data-value", "help")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("/ops help", "deploy"),
        ("/ops help deploy", "Usage: deploy"),
        ("/ops why deploy production api-service", "Would be: pending"),
        ("/ops history", "History"),
        ("/ops whoami", "Alice"),
    ],
)
def test_what_the_gateway_answers_by_itself_is_private(enter: Enter, line: str, says: str) -> None:
    """Help, why, history and whoami are nobody else's business."""
    alice = enter("alice")
    entry = alice.say(line)
    expect(entry.get_by_test_id("private")).to_contain_text(ONLY_YOU)
    expect(entry.get_by_test_id("card")).to_contain_text(says)


def test_status_is_an_invocation_like_any_other(enter: Enter) -> None:
    """A read runs at once, and everybody in the channel sees what came of it."""
    alice, bob = enter("alice"), enter("bob")
    asked = alice.ask("/ops status api-service")
    for person in (alice, bob):
        expect(person.entry(asked)).to_have_attribute("data-state", "succeeded", timeout=ROLLOUT_MS)


def test_what_was_asked_can_be_cancelled_by_button_and_by_line(enter: Enter) -> None:
    """Both end the invocation; the line points to the one card instead of repeating it."""
    alice = enter("alice")
    first, second = alice.ask(PRODUCTION), alice.ask(f"{PRODUCTION} --reason again")
    alice.press(first, "cancel")
    expect(alice.entry(first)).to_have_attribute("data-state", "cancelled")
    alice.line.fill(f"/ops cancel {second}")
    alice.line.press("Enter")
    expect(alice.entry(second)).to_have_attribute("data-state", "cancelled")
    expect(alice.page.get_by_test_id("entry").last).to_contain_text("See the card")


def test_bob_rejects_with_a_reason_that_alice_reads(enter: Enter) -> None:
    """A no without a reason helps nobody, so the page asks for one."""
    alice, bob = enter("alice"), enter("bob")
    asked = alice.ask(PRODUCTION)
    bob.entry(asked).get_by_test_id("button-reject").click()
    bob.page.get_by_test_id("reason").fill("not before the release notes")
    bob.page.get_by_test_id("confirm").click()
    expect(alice.entry(asked)).to_contain_text("not before the release notes")
    expect(alice.entry(asked)).not_to_have_attribute("data-state", "pending")


def test_a_reply_stays_in_its_thread(enter: Enter) -> None:
    """The channel only counts it."""
    alice = enter("alice")
    asked = alice.ask("/ops status api-service")
    entries = alice.page.get_by_test_id("messages").get_by_test_id("entry")
    before = entries.count()
    alice.entry(asked).get_by_test_id("open-thread").click()
    reply = alice.page.get_by_test_id("reply-line")
    reply.press_sequentially("/ops status api-service")
    reply.press("Enter")
    expect(alice.page.get_by_test_id("thread").get_by_test_id("entry").last).to_have_attribute(
        "data-invocation", re.compile("^inv_")
    )
    expect(alice.entry(asked).get_by_test_id("open-thread")).to_contain_text("1 reply")
    assert entries.count() == before


def test_a_channel_keeps_its_own_messages_and_they_are_there_after_a_reload(enter: Enter) -> None:
    """What was asked in #incidents is not in #deployments; history comes from the gateway."""
    alice = enter("alice")
    alice.page.get_by_test_id("channel-incidents").click()
    expect(alice.page.get_by_test_id("channel-name")).to_have_text("incidents")
    asked = alice.ask("/ops status api-service")
    alice.page.reload()
    expect(alice.entry(asked)).to_be_visible()
    alice.page.get_by_test_id("channel-deployments").click()
    expect(alice.page.get_by_test_id("channel-name")).to_have_text("deployments")
    expect(alice.entry(asked)).to_have_count(0)


def test_one_window_can_become_somebody_else_and_another_window_stays_who_it_is(enter: Enter) -> None:
    """In development anyone can be anyone, one person a window; what was private to Alice is gone from Dave's page."""
    window, other = enter("alice"), enter("bob")
    window.say("/ops whoami")
    expect(window.page.get_by_test_id("practice-room")).to_contain_text("In development anyone can be anyone")
    window.become("dave")
    expect(window.page.get_by_test_id("private").filter(has_text="You are Alice")).to_have_count(0)
    expect(window.say("/ops whoami").get_by_test_id("card")).to_contain_text("Dave")
    expect(other.page.get_by_test_id("me")).to_contain_text("Bob")


def test_a_lost_feed_is_said_quietly_and_mended_by_itself(enter: Enter) -> None:
    """What happened in between is caught up with."""
    alice, bob = enter("alice"), enter("bob")
    banner = alice.page.get_by_test_id("banner")
    alice.page.route("**/v1/events*", lambda route: route.abort())
    alice.page.reload()
    expect(banner).to_contain_text("Not connected")
    asked = bob.ask("/ops status api-service")
    expect(alice.entry(asked)).to_have_count(0)
    alice.page.unroute("**/v1/events*")
    expect(alice.entry(asked)).to_be_visible()
    expect(banner).not_to_contain_text("Not connected")
