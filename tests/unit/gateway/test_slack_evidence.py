"""Slack's signature as the gateway checks it: an adapter carries a message, it never makes one up or uses one twice."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any, cast
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.directory import Asker, Directory
from gateway.domain.errors import Refused
from gateway.domain.invocation import NS
from gateway.domain.ports import Proven
from gateway.flows.folk import Folk
from gateway.flows.gate import Gate
from gateway.flows.identify import Caller, asker
from gateway.infra.files import load_directory
from gateway.infra.slack_evidence import WINDOW_S, SlackEvidence
from gateway.settings import ROOT
from opsgate.contracts.base import Assurance
from opsgate.contracts.invocations import Evidence
from opsgate.contracts.problems import Code
from tests.rig.slack import ALICE, WORKSPACE, Delivery, Sender

DIRECTORY = load_directory(ROOT / "examples" / "acme" / "directory.yaml")
ADAPTER = Caller(None, DIRECTORY.adapters[0])

# The worked example of Slack's documentation, "Verifying requests from Slack".
SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
SLACKS_TIME = 1531420618
SLACKS_BODY = (
    "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
    "&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com"
    "%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id="
    "398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SLACKS_SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"

NOW = 1_763_989_200
CHECK = SlackEvidence(SECRET)
SLACK = Sender(SECRET)
HASH = "sha256:" + "a" * 64


def evidence(sent: Delivery, **headers: str | None) -> Evidence:
    """What an adapter forwards: the body and the two signature headers; `headers` replace them (None: left out)."""
    kept = {n: v for n, v in sent.headers.items() if n.startswith("x-slack-")}
    changed = kept | {"x-slack-" + n.replace("_", "-"): v for n, v in headers.items()}
    return Evidence(platform="slack", body=sent.body, headers={n: v for n, v in changed.items() if v is not None})


def signed(body: str, stamp: str = str(NOW), secret: str = SECRET) -> Evidence:
    """Slack's scheme spelled out."""
    mac = hmac.new(secret.encode(), f"v0:{stamp}:{body}".encode(), hashlib.sha256).hexdigest()
    headers = {"x-slack-request-timestamp": stamp, "x-slack-signature": f"v0={mac}"}
    return Evidence(platform="slack", body=body, headers=headers)


def proven(given: Evidence, at: float = NOW) -> Proven:
    return CHECK.verify(given, int(at * NS))


def refused(given: Evidence, at: float = NOW, check: SlackEvidence = CHECK) -> str:
    with pytest.raises(Refused) as no:
        check.verify(given, int(at * NS))
    assert (no.value.status, no.value.code) == (403, Code.UNPROVEN_ACTOR)
    assert no.value.detail.endswith("Nothing was done.")
    return no.value.detail


def said(text: str, person: str = ALICE, **more: Any) -> Delivery:
    return SLACK.command(text, person, at=NOW, **more)


class _Clock:
    def now_ns(self) -> int:
        return NOW * NS


def gate_of(directory: Directory) -> Gate:
    """Only who is who and what time it is: nothing else is asked to know a person."""
    nothing = cast(Any, None)
    ports = ("store", "policy", "dispatcher", "tickets", "tracker", "limits", "bus", "catalog")
    folk = Folk(nothing, lambda: directory, _Clock())
    return Gate(tenant="acme", zones=(), clock=_Clock(), folk=folk, **dict.fromkeys(ports, nothing))


def person_of(given: Evidence, caller: Caller = ADAPTER, directory: Directory = DIRECTORY) -> Asker:
    return asker(gate_of(directory), caller, given, CHECK)[0]


COMMAND = evidence(said("deploy staging api-service"))

# ---- what holds --------------------------------------------------------------------------------------------------


def test_slacks_own_example_has_slacks_own_signature() -> None:
    """The secret, time, body and signature of Slack's documentation; a second later it is another."""
    body = SLACKS_BODY
    example = Evidence(
        platform="slack",
        body=body,
        headers={"x-slack-request-timestamp": str(SLACKS_TIME), "x-slack-signature": SLACKS_SIGNATURE},
    )
    assert signed(body, str(SLACKS_TIME)).headers == example.headers
    # The example is from before Slack named the app in each command; its signature holds, its shape is not taken.
    assert "of a kind that Opsgate does not take" in refused(example, SLACKS_TIME)
    moved = example.model_copy(
        update={"headers": {**example.headers, "x-slack-request-timestamp": str(SLACKS_TIME + 1)}}
    )
    assert "did not sign" in refused(moved, SLACKS_TIME)


def test_a_typed_command_proves_who_said_what_where() -> None:
    """All of it is read from what was signed."""
    found = proven(evidence(said("deploy staging api-service --reason 'a & b'")))
    assert found.identity == "slack:T0ACME/U0ALICE"
    assert (found.workspace, found.app_id) == (WORKSPACE, "A0OPSGATE")
    assert found.text == "deploy staging api-service --reason 'a & b'"
    assert (found.context.channel, found.context.channel_kind) == ("C0PAYMENTS", "public")
    assert found.action is None


def test_a_mention_and_a_button_prove_the_same_person() -> None:
    """Three ways of saying something, one identity."""
    mention = SLACK.mention("status api-service", thread="1700000000.000009")
    button = {"type": "button", "action_id": "opsgate_approve", "text": {"type": "plain_text", "text": "Approve"}}
    press = SLACK.press({**button, "value": json.dumps({"id": "inv_0123456789", "binding_hash": HASH})}, ALICE)
    for sent in (mention, press):
        stamp = int(sent.headers["x-slack-request-timestamp"])
        assert proven(evidence(sent), stamp).identity == "slack:T0ACME/U0ALICE"
    at = int(mention.headers["x-slack-request-timestamp"])
    told = proven(evidence(mention), at)
    assert (told.text, told.context.thread) == ("status api-service", "1700000000.000009")
    pressed = proven(evidence(press), int(press.headers["x-slack-request-timestamp"]))
    assert pressed.action == ("approve", "inv_0123456789", HASH)
    assert pressed.text is None


@pytest.mark.parametrize(
    ("channel", "kind"), [("C0A", "public"), ("G0A", "private"), ("D0A", "dm"), ("X0A", "private")]
)
def test_where_it_was_said_is_known_and_the_unknown_counts_as_private(channel: str, kind: str) -> None:
    """A policy may refuse approvals in the dark."""
    assert proven(evidence(said("help", channel=channel))).context.channel_kind == kind


# ---- t01: replay -------------------------------------------------------------------------------------------------


def test_t01_the_same_signed_request_has_the_same_key_however_often_it_comes() -> None:
    """The key is the signature: it is stored with the answer, so a captured request is one command for ever."""
    given = evidence(said("deploy staging api-service"))
    keys = {proven(given, at).key for at in (NOW, NOW + 1, NOW + WINDOW_S)}
    assert len(keys) == 1
    assert keys != {proven(evidence(said("deploy staging api-service"))).key}, "typed again it is another command"


def test_t01_a_captured_request_is_worth_nothing_after_five_minutes() -> None:
    """Neither from the past nor from the future."""
    given = evidence(said("deploy staging api-service"))
    proven(given, NOW + WINDOW_S)
    proven(given, NOW - WINDOW_S)
    assert "too old" in refused(given, NOW + WINDOW_S + 1)
    assert "too old" in refused(given, NOW - WINDOW_S - 1)


def test_t01_a_captured_signature_with_a_fresh_time_is_refused() -> None:
    """The time is under the signature."""
    old = evidence(said("deploy staging api-service"))
    fresh = {**old.headers, "x-slack-request-timestamp": str(NOW + 3600)}
    assert "did not sign" in refused(old.model_copy(update={"headers": fresh}), NOW + 3600)


# ---- t02: a time that is none --------------------------------------------------------------------------------------

ODD_TIMES = ["", "abc", "-1", "1e9", "17639892OO", "١٧٦٣٩٨٩٢٠٠", f" {NOW}", f"{NOW}.0", "9" * 5_000, "0x69245A90"]


@pytest.mark.parametrize("stamp", ODD_TIMES)
def test_t02_a_time_that_is_no_number_is_a_refusal_and_no_defect(stamp: str) -> None:
    """Even with a good signature over it."""
    assert "too old or carries no time" in refused(signed(said("help").body, stamp))


@pytest.mark.parametrize("name", ["request_timestamp", "signature"])
def test_t02_a_header_that_is_not_there_is_a_refusal_too(name: str) -> None:
    """An adapter may send anything as evidence."""
    refused(evidence(said("help"), **{name: None}))


# ---- t03: Slack sends again ----------------------------------------------------------------------------------------


def test_t03_an_event_that_slack_sends_again_is_the_same_one_though_signed_anew() -> None:
    """A slow acknowledgement makes Slack repeat an event with a new time and signature, but the same event id."""
    body = SLACK.mention("deploy staging api-service").body
    first, again = proven(signed(body)), proven(signed(body, str(NOW + 60)), NOW + 60)
    assert first == again
    assert first.key == "slack:event:" + json.loads(body)["event_id"]
    other = SLACK.mention("deploy staging api-service").body
    assert proven(signed(other)).key != first.key


# ---- what does not hold --------------------------------------------------------------------------------------------


def test_another_secret_does_not_sign_for_slack() -> None:
    """Nor the empty one, nor a gateway without a secret."""
    body = said("help").body
    assert "did not sign" in refused(signed(body, secret="another-secret"))
    assert "did not sign" in refused(signed(body, secret=""))
    assert "OPSGATE_SLACK_SIGNING_SECRET" in refused(signed(body, secret=""), check=SlackEvidence(""))


@given(data=st.data())
def test_no_byte_of_the_body_can_be_changed(data: st.DataObject) -> None:
    """Changed, taken away or added, anywhere."""
    given = COMMAND
    at = data.draw(st.integers(0, len(given.body)))
    cut = data.draw(st.integers(0, 3))
    put = data.draw(st.text(st.characters(codec="utf-8"), max_size=3))
    body = given.body[:at] + put + given.body[at + cut :]
    if body != given.body:
        assert "did not sign" in refused(given.model_copy(update={"body": body}))


@pytest.mark.parametrize("signature", ["", "v0=", "v1={}", "{}", "v0={} ", "V0={}", "v0=é", "v0={}0"])
def test_a_signature_in_another_shape_is_none(signature: str) -> None:
    """Compared as a whole."""
    given = evidence(said("help"))
    digest = given.headers["x-slack-signature"].removeprefix("v0=")
    assert "did not sign" in refused(evidence(said("help"), signature=signature.format(digest)))


SHAPES = {
    "empty": "",
    "no form": "hello",
    "a form of another thing": urlencode({"a": "b"}),
    "no user": urlencode({k: v[0] for k, v in parse_qs(said("help").body).items() if k != "user_id"}),
    "payload is no JSON": urlencode({"payload": "{"}),
    "payload is a list": urlencode({"payload": "[]"}),
    "a view submission": urlencode({"payload": json.dumps({"type": "view_submission"})}),
    "a button without a value": urlencode({"payload": json.dumps({"type": "block_actions", "actions": [{}]})}),
    "a button of nobody": urlencode({"payload": json.dumps({"type": "block_actions", "actions": []})}),
    "JSON that breaks off": '{"type": ',
    "an event that is none": json.dumps({"type": "url_verification", "challenge": "x"}),
    "a message, not a mention": json.dumps({"type": "event_callback", "event": {"type": "message", "text": "x"}}),
    "deep JSON": '{"event":' * 20_000,
    "many fields": "&".join(f"a{n}=1" for n in range(1_000)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_what_slack_signed_but_is_no_command_is_refused_in_words(name: str) -> None:
    """A good signature is no promise of a shape; no shape is a defect."""
    assert "of a kind that Opsgate does not take" in refused(signed(SHAPES[name]))


def test_a_bots_mention_is_not_taken() -> None:
    """Two bots must not talk each other into a deploy."""
    body = SLACK.mention("deploy staging api-service", bot_id="B0ECHO").body
    assert "of a kind that Opsgate does not take" in refused(signed(body))


# ---- who that is ---------------------------------------------------------------------------------------------------


def test_a_proven_account_is_a_person_of_the_directory_known_as_well_as_slack_knows_them() -> None:
    """`verified`: the platform signed for it; it is not a sign-in."""
    found = person_of(evidence(said("help")))
    assert (found.id, found.assurance, found.platform, found.adapter) == ("alice", Assurance.VERIFIED, "slack", "slack")


def test_t05_a_good_signature_of_another_team_is_refused() -> None:
    """An app installed in two workspaces: the adapter speaks for one of them only."""
    elsewhere = Sender(SECRET, workspace="T0EVIL").command("help", at=NOW)
    with pytest.raises(Refused) as no:
        person_of(evidence(elsewhere))
    assert (no.value.status, no.value.code) == (403, Code.UNPROVEN_ACTOR)
    assert "workspace" in no.value.detail


def test_t08_an_account_nobody_linked_is_told_to_link_it() -> None:
    """It is nobody, whatever name it shows."""
    with pytest.raises(Refused) as no:
        person_of(evidence(said("help", "U0NOBODY")))
    assert (no.value.status, no.value.code) == (403, Code.UNLINKED_ACCOUNT)
    assert "slack:T0ACME/U0NOBODY" in no.value.detail


def test_t05_an_adapter_without_evidence_is_nobody() -> None:
    """Its own token proves the adapter, never a person."""
    with pytest.raises(Refused) as no:
        asker(gate_of(DIRECTORY), ADAPTER, None, CHECK)
    assert no.value.code == Code.UNPROVEN_ACTOR


def test_t52_a_button_of_another_app_is_refused() -> None:
    """A look-alike card in the same workspace, signed with a secret that leaked, is still another app's."""
    with pytest.raises(Refused) as no:
        person_of(evidence(Sender(SECRET, app="A0LOOKALIKE").command("help", at=NOW)))
    assert "not made by this Opsgate" in no.value.detail
