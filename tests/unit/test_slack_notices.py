"""What everybody must read: reminders in their channel, broken glass in the loud one, and nothing twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from opsgate.contracts.events import FeedEvent
from tests.rig.slack import CHANNEL, SlackWebApi, until, web_api
from tests.unit.slack_parts import NOW, FakeGateway, House, house, private

LOUD = "C0LOUD"


@pytest.fixture(scope="module")
def loopback() -> Iterator[SlackWebApi]:
    with web_api() as slack:
        yield slack


@pytest.fixture
async def shop(loopback: SlackWebApi, tmp_path: Path) -> AsyncIterator[House]:
    loopback.calls.clear()
    loopback.messages.clear()
    gateway = FakeGateway({"say": private("Here is help.")})
    async with house(loopback, tmp_path / "slack.db", gateway, loud_channel=LOUD) as made:
        yield made


def notice(text: str, number: int, platform: str = "", channel: str = "") -> FeedEvent:
    return FeedEvent(id=number, type="notice", at=NOW, notice=text, platform=platform, channel=channel)


def posted(slack: SlackWebApi) -> list[tuple[str, str]]:
    return [(str(c["channel"]), str(c["text"])) for c in slack.of("chat.postMessage")]


async def test_a_notice_for_everybody_goes_to_the_loud_channel(shop: House) -> None:
    shop.gateway.feed.put_nowait(notice("Alice broke the glass for INC-42.", 1))
    await until(lambda: posted(shop.slack))
    assert posted(shop.slack) == [(LOUD, "Alice broke the glass for INC-42.")]


async def test_a_reminder_goes_to_its_channel_and_another_platform_s_nowhere(shop: House) -> None:
    shop.gateway.feed.put_nowait(notice("1 command waits.", 1, "teams", "19:abc"))
    shop.gateway.feed.put_nowait(notice("2 commands wait.", 2, "slack", CHANNEL))
    await until(lambda: posted(shop.slack))
    assert posted(shop.slack) == [(CHANNEL, "2 commands wait.")]


async def test_a_notice_waits_for_a_slow_slack_and_does_not_hold_on_to_a_dead_channel(shop: House) -> None:
    """Slowed down it is said later; where the channel is gone the feed goes on."""
    shop.slack.refuse("chat.postMessage", "ratelimited", 429, 0)
    shop.gateway.feed.put_nowait(notice("said later", 1))
    await until(lambda: len(posted(shop.slack)) == 2)
    shop.slack.refuse("chat.postMessage", "channel_not_found")
    shop.gateway.feed.put_nowait(notice("lost", 2))
    shop.gateway.feed.put_nowait(notice("and on", 3))
    await until(lambda: posted(shop.slack)[-1] == (LOUD, "and on"))
