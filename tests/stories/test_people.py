"""What people hold and hand on: API tokens, service accounts, delegations, linked accounts; told in each profile."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from opsgate.contracts.invocations import InvocationView, Page, State
from opsgate.contracts.people import Credential, Delegation, LinkedAccount, MadeToken
from opsgate.contracts.problems import Code
from tests.rig.slack import ADAPTER_TOKEN, Sender
from tests.rig.stages import SLACK_SIGNING_SECRET
from tests.stories.room import Room, read, refused, shown

if TYPE_CHECKING:
    from tests.rig.stages import Stage

ALL = ["read", "write", "destroy"]


def token(room: Room, person: str, **wish: Any) -> MadeToken:
    return read(room.post(person, "/v1/tokens", {"name": "story", **wish}), MadeToken)


class Holder:
    """A program that has nothing but a token."""

    def __init__(self, room: Room, made: MadeToken) -> None:
        self.urls = room.stage.urls
        self.headers = {"Authorization": f"Bearer {made.token}"}

    def get(self, path: str, node: int = 0) -> httpx2.Response:
        url = self.urls[node % len(self.urls)] + path
        return httpx2.get(url, headers=self.headers, trust_env=False, timeout=15)

    def post(self, path: str, body: dict[str, Any]) -> httpx2.Response:
        headers = {**self.headers, "Idempotency-Key": f"story-{time.time_ns()}"}
        return httpx2.post(self.urls[0] + path, json=body, headers=headers, trust_env=False, timeout=15)

    def ask(self, line: str) -> InvocationView:
        return read(self.post("/v1/invocations", {"text": f"{line} --reason story-{time.time_ns()}"}), InvocationView)


def reasons(view: InvocationView) -> list[str]:
    return [r.code for r in view.decision.reasons]


def until(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


# ---- tokens ----------------------------------------------------------------------------------------------------------


def test_t09_a_service_account_asks_and_its_owner_cannot_agree(room: Room) -> None:
    """Alice makes CI a token; what CI asks, Alice answers for, so Bob decides."""
    bot = Holder(room, token(room, "alice", account="ci-bot", scopes=["read", "write"]))
    assert bot.get("/v1/whoami").json()["kind"] == "service"
    asked = bot.ask("deploy production api-service --version 1.4.2")
    assert asked.state is State.PENDING, asked.card
    own = room.say("alice", f"approve {shown(asked)}")
    assert (own.kind, "on your account" in own.card.text) == ("refusal", True)
    ballot = {"verdict": "approve", "binding_hash": asked.binding_hash}
    assert bot.post(f"/v1/invocations/{asked.id}/votes", ballot).json()["kind"] == "refusal"
    agreed = room.say("bob", f"approve {shown(asked)}")
    assert agreed.kind == "invocation", agreed.card
    room.until("bob", asked.id)


def test_t09_no_token_votes_whoever_holds_it(room: Room) -> None:
    """Bob is an owner; a program with his token is not Bob at the ballot, and it is written down that it tried."""
    waiting = room.ask("alice", f"deploy production api-service --reason story-{time.time_ns()}")
    program = Holder(room, token(room, "bob", scopes=ALL))
    said = program.post("/v1/messages", {"text": f"approve {shown(waiting)}"}).json()
    assert (said["kind"], "API token cannot vote" in said["card"]["text"]) == ("refusal", True)
    assert room.see("alice", waiting.id).votes == ()
    assert "vote.approve.refused" in room.audited(waiting.id)
    room.say("alice", f"cancel {waiting.id}")


def test_a_token_may_what_its_scopes_say_and_its_person_may(room: Room) -> None:
    """One that only reads cannot change or stop anything; one that writes is no more than its person."""
    reader = Holder(room, token(room, "alice"))
    denied = reader.ask("deploy staging api-service")
    assert (denied.state, reasons(denied)) == (State.DENIED, ["scope_missing"])
    waiting = room.ask("alice", f"deploy production api-service --reason story-{time.time_ns()}")
    stop = reader.post(f"/v1/invocations/{waiting.id}/cancel", {}).json()
    assert (stop["kind"], "limited to read" in stop["card"]["text"]) == ("refusal", True)
    room.say("alice", f"cancel {waiting.id}")
    guest = Holder(room, token(room, "dave", scopes=ALL))
    assert guest.ask("deploy staging api-service").state is State.DENIED


def test_a_revoked_token_is_nothing_at_once_at_every_gateway(room: Room) -> None:
    """Used at both, revoked at one."""
    made = token(room, "alice")
    program = Holder(room, made)
    assert {program.get("/v1/whoami", node).status_code for node in (0, 1)} == {200}
    (listed,) = [t for t in _tokens(room, "alice") if t.id == made.credential.id]
    assert listed.last_used_at is not None
    assert room.as_("bob").delete(f"/v1/tokens/{made.credential.id}").status_code == 404
    assert room.as_("alice").delete(f"/v1/tokens/{made.credential.id}").status_code == 204
    assert {program.get("/v1/whoami", node).status_code for node in (0, 1)} == {401}
    kinds = [r.kind for r in room.audit() if r.body.get("token") == made.credential.id]
    assert sorted(kinds) == ["token.made", "token.revoked"]
    assert not [r for r in room.audit() if made.token in r.model_dump_json()]


def _tokens(room: Room, person: str) -> tuple[Credential, ...]:
    return read(room.as_(person).get("/v1/tokens"), Page[Credential]).items


def test_a_token_is_told_once_whatever_is_sent_again(room: Room) -> None:
    """The same key gives neither the same token nor a second one: it says what to do."""
    key, body = f"once-{time.time_ns()}", {"name": "once"}
    first = room.post("alice", "/v1/tokens", body, key=key)
    assert first.status_code == 201
    for node in (0, 1):
        again = refused(room.post("alice", "/v1/tokens", body, key=key, node=node), 409, Code.NOT_POSSIBLE_NOW)
        assert "told only once" in again.detail
    refused(room.post("alice", "/v1/tokens", {"name": "other"}, key=key), 422, Code.KEY_REUSED)
    without = room.as_("alice").post("/v1/tokens", json=body)
    refused(without, 400, Code.KEY_MISSING)
    assert first.json()["token"] not in room.as_("alice").get("/v1/tokens").text


def test_t06_an_adapters_token_and_an_api_token_open_no_door_of_persons(stage: Stage, room: Room) -> None:
    """Each is good for its own calls: an adapter holds nothing, and an API token makes and hands on nothing."""
    adapter = {"Authorization": f"Bearer {ADAPTER_TOKEN}", "Idempotency-Key": f"t06-{time.time_ns()}"}
    program = Holder(room, token(room, "alice", scopes=ALL)).headers | {"Idempotency-Key": f"t06-{time.time_ns()}"}
    bodies: dict[str, dict[str, Any]] = {
        "/v1/tokens": {"name": "more"},
        "/v1/delegations": {"to": "bob", "until": until(1), "reason": "because"},
        "/v1/reviews/rev_0123456789/close": {"note": "it was all right"},
    }
    for headers, code in ((adapter, Code.UNPROVEN_ACTOR), (program, Code.FORBIDDEN)):
        for path, body in bodies.items():
            refused(httpx2.post(stage.url + path, json=body, headers=headers, trust_env=False), 403, code)
        for path in ("/v1/tokens/tok_0123456789", "/v1/delegations/dlg_0123456789", "/v1/links/slack:T0ACME/U0ALICE"):
            refused(httpx2.delete(stage.url + path, headers=headers, trust_env=False), 403, code)
    for path in ("/v1/tokens", "/v1/links", "/v1/delegations", "/v1/approvals", "/v1/reviews"):
        refused(httpx2.get(stage.url + path, headers=adapter, trust_env=False), 403, Code.UNPROVEN_ACTOR)


# ---- delegations -----------------------------------------------------------------------------------------------------


def test_approvals_are_handed_on_at_one_gateway_and_count_at_the_other(room: Room) -> None:
    """From the next vote on; and an end at one ends it at the other."""
    waiting = room.ask("alice", f"deploy production api-service --reason story-{time.time_ns()}")
    made = read(room.post("bob", "/v1/delegations", {"to": "carol", "until": until(1), "reason": "away"}), Delegation)
    agreed = room.say("carol", f"approve {shown(waiting)}", node=1)
    assert agreed.invocation is not None, agreed.card
    (vote,) = agreed.invocation.votes
    assert vote.on_behalf_of is not None
    assert (vote.by.id, vote.on_behalf_of.id) == ("carol", "bob")
    decided = read(room.as_("carol").get("/v1/approvals", params={"view": "decided"}), Page[InvocationView])
    assert waiting.id in [v.id for v in decided.items]
    room.until("alice", waiting.id)  # a delegation that ended before the claim would take the vote with it

    assert room.as_("bob").delete(f"/v1/delegations/{made.id}").status_code == 204
    next_one = room.ask("alice", f"restart production api-service --reason story-{time.time_ns()}")
    assert room.say("carol", f"approve {shown(next_one)}", node=1).kind == "refusal"
    refused(room.as_("bob").delete(f"/v1/delegations/{made.id}"), 409, Code.NOT_POSSIBLE_NOW)
    room.say("alice", f"cancel {next_one.id}")


@pytest.mark.parametrize(
    "wish",
    [
        {"to": "bob"},
        {"to": "ci-bot"},
        {"to": "nobody"},
        {"until": "2020-01-01T00:00:00Z"},
        {"until": "2100-01-01T00:00:00Z"},
        {"until": "2100-01-01T00:00:00"},
        {"reason": "  "},
    ],
)
def test_what_cannot_be_handed_on(room: Room, wish: dict[str, str]) -> None:
    """Not to oneself, to no machine, not for longer than thirty days, and not without a word why."""
    body = {"to": "carol", "until": until(1), "reason": "away", **wish}
    refused(room.post("bob", "/v1/delegations", body), 422, Code.BAD_INPUT)


# ---- lists and accounts ----------------------------------------------------------------------------------------------


def test_what_waits_what_i_asked_and_what_i_decided(room: Room) -> None:
    """Three lists; each decision moves a line from one to the other."""
    waiting = room.ask("alice", f"deploy production api-service --reason story-{time.time_ns()}")

    def seen(person: str, view: str) -> list[str]:
        answer = room.as_(person).get("/v1/approvals", params={"view": view, "limit": 200})
        return [v.id for v in read(answer, Page[InvocationView]).items]

    assert waiting.id in seen("bob", "waiting")
    assert waiting.id not in seen("alice", "waiting")
    assert seen("alice", "asked")[0] == waiting.id
    assert waiting.id not in seen("bob", "decided")
    room.say("bob", f"reject {shown(waiting)} not today")
    assert waiting.id not in seen("bob", "waiting")
    assert seen("bob", "decided")[0] == waiting.id
    first = room.as_("alice").get("/v1/approvals", params={"view": "asked", "limit": 1}).json()
    assert (first["items"][0]["id"], bool(first["next"])) == (waiting.id, True)
    rest = {"view": "asked", "limit": 1, "cursor": first["next"]}
    assert room.as_("alice").get("/v1/approvals", params=rest).json()["items"][0]["id"] == seen("alice", "asked")[1]


def test_t08_an_account_that_nobody_knows_is_told_so_and_counts_for_nothing(stage: Stage, room: Room) -> None:
    """Typed or pressed. Here nobody can sign in, so the operator is named instead of a link."""
    waiting = room.ask("alice", f"deploy production api-service --reason story-{time.time_ns()}")
    slack = Sender(SLACK_SIGNING_SECRET)
    value = f'{{"id":"{waiting.id}","binding_hash":"{waiting.binding_hash}"}}'
    button = {"action_id": "opsgate_approve", "text": {}, "type": "button", "value": value}
    ballot = {"verdict": "approve", "binding_hash": waiting.binding_hash}
    for path, delivery, body in (
        ("/v1/messages", slack.command("help", "U0STRANGER"), {"text": "help"}),
        ("/v1/messages", slack.command("deploy staging api-service", "U0STRANGER"), {"text": "x"}),
        (f"/v1/invocations/{waiting.id}/votes", slack.press(button, "U0STRANGER"), ballot),
        (f"/v1/invocations/{waiting.id}/cancel", slack.press(button, "U0STRANGER"), {}),
    ):
        headers = {name: value for name, value in delivery.headers.items() if name.startswith("x-slack-")}
        evidence = {"platform": "slack", "body": delivery.body, "headers": headers}
        signed = {"Authorization": f"Bearer {ADAPTER_TOKEN}", "Idempotency-Key": f"t08-{time.time_ns()}"}
        answer = httpx2.post(stage.url + path, json={**body, "evidence": evidence}, headers=signed, trust_env=False)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert (told["private"], told["invocation"], told["card"]["links"]) == (True, None, [])
        assert told["kind"] == ("help" if body == {"text": "help"} else "refusal")
        assert "operator" in told["card"]["text"]
    assert room.see("alice", waiting.id).votes == ()
    room.say("alice", f"cancel {waiting.id}")


def test_my_accounts_are_listed_and_those_of_the_directory_stay(room: Room) -> None:
    """Seen by me and by security; taken away by neither."""
    mine = read(room.as_("alice").get("/v1/links"), Page[LinkedAccount]).items
    assert [(a.identity, a.by, a.linked_at) for a in mine] == [("slack:T0ACME/U0ALICE", "directory", None)]
    assert read(room.as_("carol").get("/v1/links?person=alice"), Page[LinkedAccount]).items == mine
    refused(room.as_("bob").get("/v1/links?person=alice"), 403, Code.FORBIDDEN)
    for person in ("alice", "carol"):
        refused(room.as_(person).delete("/v1/links/slack:T0ACME/U0ALICE"), 409, Code.NOT_POSSIBLE_NOW)
    refused(room.as_("alice").delete("/v1/links/slack:T0ACME/U0STRANGER"), 404, Code.NOT_FOUND)
