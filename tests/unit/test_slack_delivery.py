"""The adapter's door: only what Slack signed a moment ago comes in, and what comes twice is one thing."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.rig.slack import Delivery, Sender, SlackWebApi, buttons, until, web_api
from tests.unit.slack_parts import SECRET, FakeGateway, House, house, invocation, private, public


@pytest.fixture(scope="module")
def loopback() -> Iterator[SlackWebApi]:
    with web_api() as slack:
        yield slack


@pytest.fixture
async def shop(loopback: SlackWebApi, tmp_path: Path) -> AsyncIterator[House]:
    """The adapter, with a gateway that answers every line with help."""
    loopback.calls.clear()
    loopback.messages.clear()
    async with house(loopback, tmp_path / "slack.db", FakeGateway({"say": private("Here is help.")})) as made:
        yield made


def signed_by_hand(body: str, stamp: str, secret: str = SECRET) -> Delivery:
    """Slack's scheme spelled out, so that the tests do not lean on the library that the adapter leans on."""
    digest = hmac.new(secret.encode(), f"v0:{stamp}:{body}".encode(), hashlib.sha256).hexdigest()
    kind = "application/x-www-form-urlencoded"
    return Delivery(
        body, {"content-type": kind, "x-slack-request-timestamp": stamp, "x-slack-signature": f"v0={digest}"}
    )


async def test_what_slack_signed_comes_in_and_its_raw_request_goes_on_as_evidence(shop: House) -> None:
    """The gateway must be able to check Slack's signature itself, byte for byte."""
    sent = shop.sender.command("help")
    assert (await shop.deliver(sent)).status_code == 200
    ((_, body, key),) = shop.gateway.heard
    assert body.evidence is not None
    assert body.evidence.body == sent.body
    assert body.evidence.headers == {n: v for n, v in sent.headers.items() if n.startswith("x-slack-")}
    assert key.startswith("slack-")


async def test_a_wrong_signature_is_refused(shop: House) -> None:
    """Another secret, another body, another app's signature: all 401, and the gateway never hears of it."""
    good = shop.sender.command("help")
    look_alike = Sender("another-app-s-signing-secret-000", app="A0LOOKALIKE").command("approve inv_1")
    changed = replace(good, body=good.body.replace("U0ALICE", "U0BOB"))
    for bad in (changed, look_alike):
        assert (await shop.deliver(bad)).status_code == 401
    for header in ("x_slack_signature", "x_slack_request_timestamp"):
        assert (await shop.deliver(good, **{header: ""})).status_code == 401
    assert shop.gateway.heard == []


@pytest.mark.parametrize("off_s", [-301, 301, -86_400])
async def test_a_stale_or_future_timestamp_is_refused(shop: House, off_s: int) -> None:
    """A captured request is worth nothing after five minutes."""
    old = shop.sender.command("help", at=time.time() + off_s)
    assert (await shop.deliver(old)).status_code == 401
    assert shop.gateway.heard == []


@pytest.mark.parametrize("stamp", ["abc", "", "-5", "1e9", "9" * 5000, "1700000000.5", " 1700000000"])
async def test_t02_a_timestamp_that_is_no_number_is_401_not_500(shop: House, stamp: str) -> None:
    """Signed or not: it is parsed before anything else is."""
    assert (await shop.deliver(signed_by_hand("text=help", stamp))).status_code == 401
    assert shop.gateway.heard == []


@pytest.mark.parametrize("signature", ["v0=", "v0=" + "z" * 64, "v1=" + "0" * 64, "nonsense", "v0=é"])
async def test_t02_a_signature_of_another_form_is_401_not_500(shop: House, signature: str) -> None:
    """Also one with letters that a constant-time comparison cannot take."""
    sent = shop.sender.command("help")
    headers = [(n.encode(), v.encode()) for n, v in {**sent.headers, "x-slack-signature": signature}.items()]
    answer = await shop.http.post("/slack/events", content=sent.body.encode(), headers=headers)
    assert answer.status_code == 401


async def test_t01_the_same_signed_request_twice_is_one_command(shop: House) -> None:
    """Both carry the same idempotency key, so the second gets the first's Invocation; one message stands."""
    shop.gateway.script["say"] = public(invocation())
    sent = shop.sender.command("deploy production api-service")
    first, second = await shop.deliver(sent), await shop.deliver(sent)
    assert (first.status_code, second.status_code) == (200, 200)
    keys = {key for _, _, key in shop.gateway.heard}
    assert len(keys) == 1
    assert len(shop.slack.of("chat.postMessage")) == 1


async def test_two_commands_with_the_same_words_are_two(shop: House) -> None:
    """The key comes from the delivery, not from what was said."""
    for _ in range(2):
        await shop.deliver(shop.sender.command("deploy staging api-service"))
    assert len({key for _, _, key in shop.gateway.heard}) == 2


async def test_t03_a_retry_is_acknowledged_and_asks_with_the_same_key(shop: House) -> None:
    """Slack signs a retry anew; the event is the same."""
    sent = shop.sender.mention("help")
    again = shop.sender.sign(sent.body, at=time.time() + 1, form=False)
    assert (await shop.deliver(sent)).status_code == 200
    await until(lambda: len(shop.gateway.heard) == 1)
    retried = await shop.deliver(again, x_slack_retry_num="1", x_slack_retry_reason="http_timeout")
    assert retried.status_code == 200
    await until(lambda: len(shop.gateway.heard) == 2)
    assert again.headers != sent.headers
    assert len({key for _, _, key in shop.gateway.heard}) == 1


async def test_a_delivery_that_is_too_long_is_413_before_it_is_read(shop: House) -> None:
    """Also one that does not say beforehand how long it is."""
    huge = shop.sender.sign("text=" + "x" * 300_000)
    assert (await shop.deliver(huge)).status_code == 413

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(300):
            yield b"x" * 1000

    unsaid = await shop.http.post("/slack/events", content=pieces(), headers=shop.sender.command("help").headers)
    assert unsaid.status_code == 413


@pytest.mark.parametrize("body", ["payload=%7B", "{", "[" * 10_000, "payload=" + "[" * 10_000, "payload=%5B%5D", ""])
async def test_a_signed_body_of_no_known_kind_is_refused_without_a_fault(shop: House, body: str) -> None:
    """Deep or broken JSON under a right signature is still no 500."""
    answer = await shop.deliver(shop.sender.sign(body))
    assert 400 <= answer.status_code < 500
    assert shop.gateway.heard == []


async def test_bytes_that_are_no_text_are_refused(shop: House) -> None:
    """Evidence is text; what is no UTF-8 was never signed by Slack."""
    sent = shop.sender.command("help")
    answer = await shop.http.post("/slack/events", content=b"\xff\xfe", headers=sent.headers)
    assert answer.status_code == 401


async def test_slack_may_look_whether_the_address_answers(shop: House) -> None:
    """`ssl_check` is a GET; a signed command that says ssl_check=1 is a command all the same."""
    assert (await shop.http.get("/slack/events", params={"ssl_check": "1"})).status_code == 200
    sent = shop.sender.command("help")
    assert (await shop.deliver(shop.sender.sign(sent.body + "&ssl_check=1"))).status_code == 200
    assert len(shop.gateway.heard) == 1


async def test_slack_s_challenge_is_answered(shop: House) -> None:
    """Saving the request URL in the app's settings works."""
    asked = shop.sender.sign(json.dumps({"type": "url_verification", "challenge": "3eZbrw"}), form=False)
    answer = await shop.deliver(asked)
    assert (answer.status_code, answer.json()) == (200, {"challenge": "3eZbrw"})


async def test_a_button_press_twice_is_one_vote(shop: House) -> None:
    """The same press, delivered again, asks with the same key; a second press is another."""
    shop.gateway.script["say"] = public(invocation())
    await shop.deliver(shop.sender.command("deploy production api-service"))
    approve = buttons(shop.slack.of("chat.postMessage")[0]["blocks"])["Approve"]
    shop.gateway.heard.clear()
    shop.gateway.script["approve inv_1"] = private("Not you.", "refusal")
    press = shop.sender.press(approve, "U0ALICE")
    for delivery in (press, press, shop.sender.press(approve, "U0ALICE")):
        assert (await shop.deliver(delivery)).status_code == 200
    keys = [key for _, _, key in shop.gateway.heard]
    assert keys[0] == keys[1] != keys[2]
