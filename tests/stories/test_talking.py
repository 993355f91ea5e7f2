"""The conversation itself: help, why, history, status, whoami; and what a slip of the finger is answered with."""

from __future__ import annotations

import pytest

from opsgate.contracts.invocations import State
from tests.stories.room import Room


def test_help_shows_what_one_may_do_and_on_what_terms(room: Room) -> None:
    """Alice sees her commands; one that needs approval is marked; freezing is not hers."""
    shown = room.say("alice", "/ops help")
    assert shown.kind == "help"
    assert shown.private
    lines = {line.split()[0]: line for line in shown.card.bullets}
    assert {"status", "logs", "deploy", "scale", "rollback", "restart", "migrate", "metric"} <= set(lines)
    assert "freeze" not in lines
    assert lines["migrate"].endswith("(with approval)")
    assert not lines["deploy"].endswith(")"), "staging runs at once"


def test_help_of_one_command_shows_its_arguments_and_where_one_may(room: Room) -> None:
    """Usage, each argument with its values, an example, and the answer of the policy per environment."""
    shown = room.say("alice", "help deploy")
    assert "Usage: deploy ENVIRONMENT SERVICE [--version VERSION] [--reason TEXT]" in shown.card.text
    assert {f.label: f.value for f in shown.card.facts} == {"staging": "you may", "production": "with approval"}
    assert any("staging, production" in bullet for bullet in shown.card.bullets)
    assert "deploy staging api-service" in shown.card.examples


def test_help_of_a_guest_offers_nothing_and_says_whom_to_ask(room: Room) -> None:
    """Dave has no role: no commands, and the way to get one."""
    shown = room.say("dave", "help")
    assert shown.card.bullets == ()
    assert "have no role here yet" in shown.card.text
    assert room.as_("dave").get("/v1/commands").json()["items"] == []


def test_why_says_what_would_be_decided_by_which_rule_and_runs_nothing(room: Room) -> None:
    """Production would wait, for whom; staging would run; nothing is kept of either."""
    before = len(room.as_("alice").get("/v1/invocations?limit=200").json()["items"])
    production = room.say("alice", "/ops why deploy production api-service")
    assert production.card.title == "Would be: pending"
    assert "1 approval from owners:api-service" in production.card.text
    assert "developers_change_their_own" in production.card.text
    staging = room.say("alice", "why deploy staging api-service")
    assert staging.card.text == "Alice may do this at once. Allowed by the rule developers_change_their_own."
    assert staging.card.footer == "Nothing was run."
    guest = room.say("dave", "why deploy staging api-service")
    assert guest.card.title == "Would be: deny"
    assert len(room.as_("alice").get("/v1/invocations?limit=200").json()["items"]) == before


def test_only_security_may_ask_what_another_may(room: Room) -> None:
    """Carol asks for Dave; Alice may not."""
    body = {"text": "deploy staging api-service", "as_person": "dave"}
    carol = room.as_("carol").post("/v1/decisions", json=body).json()
    assert (carol["person"], carol["decision"]["effect"]) == ("dave", "deny")
    assert room.as_("alice").post("/v1/decisions", json=body).status_code == 403


def test_status_of_an_id_shows_its_card_and_of_a_service_asks_the_fleet(room: Room) -> None:
    """One word, two meanings, told apart by the id."""
    asked = room.ask("alice", "status api-service production")
    done = room.until("alice", asked.id, State.SUCCEEDED)
    assert "api-service: " in done.card.text
    assert "in production, healthy (3 of 3 replicas)" in done.card.text
    shown = room.say("bob", f"status {asked.id}")
    assert shown.kind == "invocation"
    assert shown.invocation is not None
    assert shown.invocation.id == asked.id


def test_history_lists_what_happened_newest_first_with_its_ids(room: Room) -> None:
    """Of everything, or of one service."""
    asked = room.ask("alice", "status api-service staging")
    room.until("alice", asked.id)
    shown = room.say("alice", "history api-service")
    assert shown.kind == "history"
    assert asked.id in shown.card.bullets[0]
    assert "status api-service staging" in shown.card.bullets[0]
    assert "Asked by Alice." in shown.card.bullets[0]
    assert all("api-service" in line for line in shown.card.bullets)


def test_whoami_says_who_one_is_and_how_that_is_known(room: Room) -> None:
    """The person, not the account; and the groups that decide."""
    shown = room.say("bob", "whoami")
    assert shown.private
    assert "You are Bob (bob). Your groups: members, developers, team:payments, owners:api-service." in shown.card.text
    me = room.as_("bob").get("/v1/whoami").json()
    assert (me["id"], me["name"], me["assurance"]) == ("bob", "Bob", "oidc")


MISTAKES = [
    ("deplyo staging api-service", "Did you mean `deploy`?", "deploy staging api-service"),
    ("deploy prodction api-service", "Did you mean `production`?", "deploy production api-service"),
    ("deploy staging api-servce", "Did you mean `api-service`?", "deploy staging api-service"),
    ("deploy staging", "needs the service", "deploy staging api-service"),
    ('deploy staging api-service --reason "so', 'A quote (") was opened and not closed', None),
    ("deploy staging api-service --verson 1.4.2", "Did you mean `version`?", "deploy staging api-service"),
    ("deploy staging api-service now", "takes no further argument", "deploy staging api-service"),
    ("scale staging api-service many", "is not a whole number", "scale staging api-service 5"),
    ("scale staging api-service 99", "is not 1 to 50", "scale staging api-service 5"),
    ("approve", "needs the id of an invocation", "history"),
    ("help deplyo", "There is no command", "help deploy"),
]


@pytest.mark.parametrize(("line", "words", "example"), MISTAKES, ids=[line for line, _, _ in MISTAKES])
def test_a_slip_is_answered_with_the_nearest_right_thing_and_an_example(
    room: Room, line: str, words: str, example: str | None
) -> None:
    """A mistake is an answer that only the asker sees, never an error; nothing is kept of it."""
    answer = room.say("alice", f"/ops {line}")
    assert answer.kind == "mistake"
    assert answer.private
    assert words in answer.card.text
    assert answer.card.examples
    assert example is None or example in answer.card.examples
    assert answer.invocation is None


def test_the_nearest_right_thing_can_be_typed_as_it_is_shown(room: Room) -> None:
    """What is offered for a typo is itself understood."""
    offered = room.say("alice", "deplyo production api-service").card.examples[0]
    assert room.say("alice", f"why {offered}").kind == "explanation"


def test_phones_and_word_processors_do_not_change_what_is_meant(room: Room) -> None:
    """Curly quotes, a long dash and invisible letters become what was typed."""
    shown = room.say("alice", "why deploy\u200b staging api-service \u2014reason \u201ca  b\u201d")
    assert shown.card.facts[0].value == 'deploy staging api-service --version 1.4.2 --reason "a  b"'


def test_an_id_that_is_not_there_is_answered_like_one_that_is_not_yours(room: Room) -> None:
    """Nobody can find out by asking."""
    denied = room.ask("dave", "deploy staging api-service")
    hidden = room.as_("alice").get(f"/v1/invocations/{denied.id}")
    missing = room.as_("alice").get("/v1/invocations/inv_0000000000")
    assert hidden.status_code == missing.status_code == 404
    blank = "inv_0000000000"
    assert hidden.json()["detail"].replace(denied.id, blank) == missing.json()["detail"]
