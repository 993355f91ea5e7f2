"""What a hostile reading of the doors found: each way that was open, tried again over HTTP, and on both databases."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import httpx2
import pytest

from dev.embedded import ROOT
from dev.policies import OpaServer
from gateway.domain.people import Code
from gateway.domain.ports import Change
from gateway.flows.sessions import csrf_of
from gateway.infra.slack_evidence import SlackEvidence
from tests.integration.stores import T0, Place
from tests.integration.test_device_flow import ASKED, let_in, redeem, whoami
from tests.integration.test_store_people import HOUR, credential, told
from tests.rig.gateways import Desk, desk
from tests.rig.slack import ADAPTER_TOKEN, ALICE, BOB, Delivery, Sender
from tests.rig.stages import SLACK_SIGNING_SECRET

pytestmark = pytest.mark.slow

SLACK = Sender(SLACK_SIGNING_SECRET)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("findings")
    shutil.copytree(ROOT / "policies", folder / "policies")
    opa = OpaServer(folder / "policies", folder / "opa").start()
    try:
        with desk(folder / "house", opa.url) as found:
            found.house.evidence = SlackEvidence(SLACK_SIGNING_SECRET)
            yield found
    finally:
        opa.stop()


@pytest.fixture
def at(shared: Desk) -> Iterator[Desk]:
    yield shared
    shared.rest()


# ---- a terminal's token is no browser --------------------------------------------------------------------------------


def test_a_terminals_token_in_a_cookie_makes_no_other_token(at: Desk) -> None:
    """Whoever stole it could renew it for ever: a new one every twelve hours, with nobody at a browser."""
    stolen = redeem(at, let_in(at.signed_in("alice"), ASKED)["code"]).json()["access_token"]
    assert whoami(at, stolen).status_code == 200
    headers = {"Cookie": f"opsgate={stolen}", "Sec-Fetch-Site": "same-origin"}
    with httpx2.Client(base_url=at.url, headers=headers, trust_env=False) as http:
        assert "/login?" in http.get(f"/oauth/authorize?{urlencode(ASKED)}").headers["location"]
        form = {"csrf": csrf_of(stolen), "allow": "yes"}
        answer = http.post(f"/oauth/authorize?{urlencode(ASKED)}", data=form)
    assert (answer.status_code, answer.headers.get("location")) == (401, None)


# ---- t05: an adapter that adds something to what was signed ----------------------------------------------------------


def carry(at: Desk, path: str, delivery: Delivery, **body: Any) -> httpx2.Response:
    headers = {name: value for name, value in delivery.headers.items() if name.startswith("x-slack-")}
    evidence = {"platform": "slack", "body": delivery.body, "headers": headers}
    signed = {"Authorization": f"Bearer {ADAPTER_TOKEN}", "Idempotency-Key": uuid4().hex}
    return httpx2.post(at.url + path, json={**body, "evidence": evidence}, headers=signed, trust_env=False)


def test_t05_an_adapter_breaks_no_glass_and_names_no_ticket_for_anybody(at: Desk) -> None:
    """Alice typed a line; what stands beside it in the adapter's call is the adapter's own."""
    line = "deploy production api-service --version 7.7.7"
    added = {"reason": "the site is down, believe me", "break_glass": "INC-42", "ticket": "OPS-12"}
    answer = carry(at, "/v1/invocations", SLACK.command(line, ALICE), text=line, **added)
    assert answer.status_code == 202, answer.text
    asked = answer.json()
    assert asked["state"] == "pending"
    assert (asked["reason"], asked["ticket"]) == ("", "")
    assert "INC-42" not in answer.text
    press(at, asked)


def press(at: Desk, asked: dict[str, Any]) -> None:
    """Bob presses Approve; the adapter says that it is in Carol's place, and why."""
    seen = {"id": asked["id"], "binding_hash": asked["binding_hash"]}
    button = {"action_id": "opsgate_approve", "text": {}, "type": "button", "value": json.dumps(seen)}
    body = {
        "verdict": "approve",
        "binding_hash": asked["binding_hash"],
        "on_behalf_of": "carol",
        "reason": "he said so",
    }
    answer = carry(at, f"/v1/invocations/{asked['id']}/votes", SLACK.press(button, BOB), **body)
    assert answer.status_code == 200, answer.text
    (vote,) = at.audit("vote.approve")[-1:]
    assert (vote.actor, vote.body["on_behalf_of"], vote.body["reason"]) == ("bob", "", "")


# ---- what is long over, on both databases ----------------------------------------------------------------------------


async def test_two_gateways_forget_together_and_take_only_what_is_over(place: Place) -> None:
    """At the same time, on either engine: neither fails, and what is good or of an API token stays."""
    stores = [place.store("gateway-1"), place.store("gateway-2")]
    over = tuple(Code(f"{n:064x}", "sign_in", "", "{}", T0 + n) for n in range(60))
    kept = Code("f" * 64, "link", "", "{}", T0 + HOUR)
    sessions = [credential(f"ses_{n}", kind="console", expires_ns=T0 + n) for n in range(60)]
    good, token = credential("ses_good", kind="cli", expires_ns=T0 + HOUR), credential("tok", expires_ns=T0)
    await stores[0].apply(Change((), people=(*over, kept, *sessions, good, token)))
    for _ in range(4):
        assert await told(*(s.forget(T0 + 100, T0 + 100, 20) for s in stores)) == [None, None]
    assert [await stores[0].code(c.digest) for c in (over[0], over[-1], kept)] == [None, None, kept]
    assert {c.id for c in await stores[1].credentials(("alice",))} == {"ses_good", "tok"}
