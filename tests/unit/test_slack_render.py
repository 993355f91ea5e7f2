"""Cards in Slack: within Slack's limits by Slack's own validators, and with no way to ping or to link anything."""

from __future__ import annotations

import json
from typing import Any

import pytest
from slack_sdk.models.blocks import Block, ConfirmObject

from adapters.slack import render
from opsgate.contracts.messages import Card, Fact, Link, Progress
from tests.unit.slack_parts import BUTTONS, HASH, button, card

LONG = "x" * 5000
SNARES = ("@channel", "<!channel>", "<!here|here>", "<@U0BOB>", "<https://evil.test|click>", "*b* _i_ `c`", ":wave:")
MARKUP_TYPES = {"mrkdwn", "markdown", "link", "user", "usergroup", "broadcast", "channel", "emoji", "image"}


def valid(message: render.Message) -> None:
    """Slack's own code accepts every block and every confirmation."""
    assert 1 <= len(message.blocks) <= 50
    for raw, block in zip(message.blocks, Block.parse_all(message.blocks), strict=True):
        assert block is not None, raw
        block.validate_json()
    for element in (e for b in message.blocks if b["type"] == "actions" for e in b["elements"]):
        assert len(element["action_id"]) <= 255
        if "confirm" in element:
            ConfirmObject(**element["confirm"]).validate_json()


def every(node: Any, name: str) -> list[Any]:
    """All values of this key, anywhere."""
    if isinstance(node, list):
        return [found for item in node for found in every(item, name)]
    if isinstance(node, dict):
        own = [node[name]] if name in node else []
        return own + [found for value in node.values() for found in every(value, name)]
    return []


def full(text: str) -> Card:
    """A card with this text in every place a text can stand."""
    return Card(
        tone="waiting",
        title=text,
        text=text,
        facts=(Fact(label=text, value=text),) * 20,
        bullets=(text,) * 60,
        progress=Progress(percent=40, text=text),
        buttons=tuple(b.model_copy(update={"label": text, "confirm": text}) for b in BUTTONS),
        examples=(text,) * 20,
        footer=text,
    )


@pytest.mark.parametrize("tone", list(render.EMOJI))
def test_a_card_of_every_tone_is_valid_and_says_its_tone(tone: Any) -> None:
    """The tone is a sign in the title: colours alone do not reach everybody."""
    message = render.message(card("Something happened.", tone), "inv_1")
    valid(message)
    assert message.blocks[0]["text"]["text"].startswith(render.EMOJI[tone])
    assert message.text.startswith(render.EMOJI[tone])


@pytest.mark.parametrize("text", [LONG, "", " ", "é" * 200])
def test_no_length_of_text_breaks_a_limit(text: str) -> None:
    """Also all of it together stays under what Slack takes in one message."""
    message = render.message(full(text), "inv_1")
    valid(message)
    assert sum(len(t) for t in every(message.blocks, "text") if isinstance(t, str)) < 13_000
    assert all(t for t in every(message.blocks, "text")), "Slack refuses an empty text"


@pytest.mark.parametrize("snare", SNARES)
def test_t22_no_output_can_ping_link_or_format(snare: str) -> None:
    """Blocks hold plain text only, where Slack reads no markup; the notification text is escaped."""
    message = render.message(full(snare), "inv_1")
    valid(message)
    assert not MARKUP_TYPES & {t for t in every(message.blocks, "type") if isinstance(t, str)}
    assert not any(every(message.blocks, "emoji"))
    assert snare in json.dumps(message.blocks, ensure_ascii=False)
    assert not set("<>") & set(message.text)


def test_t22_log_lines_are_plain_too() -> None:
    """What a Job prints reaches the thread letter by letter."""
    message = render.log_lines(SNARES)
    valid(message)
    assert message.blocks[0]["elements"][0]["elements"] == [{"type": "text", "text": "\n".join(SNARES)}]
    assert message.text == f"The last {len(SNARES)} lines of its log."


def test_the_end_of_a_long_log_is_what_is_kept() -> None:
    """The last line is the one that says what went wrong."""
    message = render.log_lines([LONG, "the real error"])
    valid(message)
    assert message.blocks[0]["elements"][0]["elements"][0]["text"].endswith("the real error")


def test_a_button_carries_the_id_the_hash_and_a_question() -> None:
    """What was shown is what is voted on; and nobody approves by a slip of the thumb."""
    shown = render.message(card("Waits.", "waiting", buttons=(button("approve", "Approve"),)), "inv_1")
    (pressed,) = shown.blocks[-1]["elements"]
    assert json.loads(pressed["value"]) == {"id": "inv_1", "binding_hash": HASH}
    assert pressed["style"] == "primary"
    assert pressed["confirm"]["text"]["text"] == "Approve it?"
    assert render.pressed(pressed["action_id"], pressed["value"]) == (
        "approve",
        render.Pressed(id="inv_1", binding_hash=HASH),
    )


@pytest.mark.parametrize(
    ("action_id", "value"),
    [
        ("approve", "{}"),
        ("other_approve", json.dumps({"id": "inv_1", "binding_hash": HASH})),
        ("opsgate_freeze", json.dumps({"id": "inv_1", "binding_hash": HASH})),
        ("opsgate_approve", ""),
        ("opsgate_approve", "click_me_123"),
        ("opsgate_approve", json.dumps({"id": "inv_1", "binding_hash": "sha256:1"})),
        ("opsgate_approve", json.dumps({"id": "inv_1", "binding_hash": HASH, "person": "bob"})),
    ],
)
def test_what_is_not_our_button_means_nothing(action_id: str, value: str) -> None:
    """Unknown names, foreign values and extra fields are refused before anything is asked."""
    assert render.pressed(action_id, value) is None


def test_a_card_without_an_invocation_has_no_buttons() -> None:
    """There would be nothing to press."""
    message = render.message(card("Help", buttons=BUTTONS))
    assert not [b for b in message.blocks if b["type"] == "actions"]


def test_progress_shows_as_a_bar() -> None:
    """With per cent when the length is known, else in words only."""
    bar = render.message(card("", progress=Progress(percent=40, text="2 of 5 replicas")))
    assert bar.blocks[-1]["elements"][0]["text"] == "▰▰▰▰▱▱▱▱▱▱ 40 % 2 of 5 replicas"
    words = render.message(card("", progress=Progress(text="pulling")))
    assert words.blocks[-1]["elements"][0]["text"] == "pulling"
    nothing = render.message(card("", progress=Progress()))
    assert len(nothing.blocks) == 1


def test_a_link_is_a_button_that_opens_a_page() -> None:
    """Its words are plain, and who reads only the notification finds the address there."""
    page = Link(label="Link <!channel>", url="https://ops.acme.test/link/a_B-9?x=1&y=2")
    message = render.message(card("Not linked yet.", links=(page,)))
    valid(message)
    (button_,) = message.blocks[-1]["elements"]
    assert (button_["url"], button_["text"]["type"]) == (page.url, "plain_text")
    assert render.pressed(button_["action_id"], "") is None
    assert "https://ops.acme.test/link/a_B-9?x=1&amp;y=2" in message.text
    assert not set("<>") & set(message.text)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "https://",
        "https:///x",
        "slack://open",
        "https://a.test/<!channel>",
        "https://a.test/|x",
        "https://a.test/ x",
        "https://a.test/\nx",
        'https://a.test/"x',
        "https://a.test/" + "x" * 3000,
    ],
)
def test_t22_what_is_no_plain_address_is_no_link(url: str) -> None:
    """Nothing is shown rather than something that could be read as markup."""
    message = render.message(card("Hm.", links=(Link(label="Open", url=url),)))
    valid(message)
    assert not [b for b in message.blocks if b["type"] == "actions"]
    assert url not in message.text
