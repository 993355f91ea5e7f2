"""The answer teaches: a denial shows what would have passed and who could do it; help tells each person their own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from opsgate.contracts.commands import WhatIf
from opsgate.contracts.invocations import InvocationView, State
from opsgate.contracts.problems import Code
from tests.stories.approvals.conftest import Guild
from tests.stories.room import eventually, read, refused

if TYPE_CHECKING:
    from tests.rig.stages import ProductionStage, Stage

FOREVER = {"from": "2020-01-01T00:00:00Z", "until": "2099-01-01T00:00:00Z"}


def web(directory: dict[str, Any]) -> None:
    """Wendy develops the web shop and is on call for it; Walter owns it."""
    staff = ["members", "developers", "team:web"]
    directory["people"] += [
        {"id": "wendy", "name": "Wendy", "groups": staff},
        {"id": "walter", "name": "Walter", "groups": [*staff, "owners:web-shop"]},
    ]
    directory["oncall"] = [*directory.get("oncall", []), {"service": "web-shop", "person": "wendy", **FOREVER}]


@pytest.fixture
def room(stage: Stage) -> Iterator[Guild]:
    """The practice company with its web team."""
    with Guild(stage) as room:
        room.peace()
        if "wendy" not in stage.files.directory.read_text():
            room.change_directory(web)
        for node in range(len(stage.urls)):
            eventually(partial(room.knows, "walter", node))
        yield room


def facts(view: InvocationView) -> dict[str, str]:
    return {f.label: f.value for f in view.card.facts}


def may(room: Guild, person: str) -> dict[str, str]:
    items = room.as_(person).get("/v1/commands").raise_for_status().json()["items"]
    return {item["name"]: item["may"] for item in items}


# ---- a denial -------------------------------------------------------------------------------------------------


def test_a_denial_names_the_rule_the_argument_and_the_smallest_change_that_would_pass(room: Guild) -> None:
    """Too many replicas: the limit itself, where it would run at once and where it would wait, and lines to type."""
    denied = room.ask("wendy", "scale production web-shop 30")
    assert denied.state is State.DENIED
    (reason,) = denied.decision.reasons
    assert (reason.code, reason.argument) == ("too_many_replicas", "replicas")
    assert facts(denied)["Refused by"] == "too_many_replicas (replicas)"
    at_once, waits = "scale staging web-shop 20", "scale production web-shop 20"
    assert denied.card.examples[:2] == (at_once, waits)
    assert denied.hint.startswith(
        f"`{at_once}` would run at once; `{waits}` would wait for 1 approval from owners:web-shop."
    )
    assert facts(denied)["Would pass"] == denied.hint
    assert room.see("wendy", denied.id).hint == denied.hint, "it is kept with the Invocation"


def test_what_a_denial_offers_is_really_not_denied(room: Guild) -> None:
    """Every line that is offered, typed again as it is shown."""
    denied = room.ask("wendy", "scale production web-shop 30")
    for line in denied.card.examples[:2]:
        asked = room.ask("wendy", line)
        assert asked.state is not State.DENIED
        if asked.state is State.PENDING:
            room.say("wendy", f"cancel {asked.id}")
        else:
            room.until("wendy", asked.id)


def test_a_denial_for_a_missing_role_names_the_group_that_could_and_nobody_in_it(room: Guild) -> None:
    """Alice and the web shop: somebody in team:web may ask. No member is named, no other service is offered."""
    denied = room.ask("alice", "deploy production web-shop")
    assert denied.hint == (
        "Somebody in team:web may ask for this, and then it waits for 1 approval from owners:web-shop."
    )
    assert facts(denied)["What helps"] == denied.hint
    assert "wendy" not in denied.model_dump_json().lower()
    assert denied.card.examples[0] == "help deploy"
    assert not any("api-service" in line for line in denied.card.examples)


def test_who_may_lift_a_freeze_is_a_group_too(room: Guild) -> None:
    """Wendy may not freeze: security may, at once."""
    assert room.ask("wendy", "freeze staging").hint == "Somebody in security may do this at once."


def test_a_freeze_shows_where_it_would_pass_and_tells_whoever_is_on_call_of_the_glass(room: Guild) -> None:
    """Production is frozen: staging is not. Breaking the glass is only ever spoken of; no incident is made up."""
    assert room.ask("carol", 'freeze production web-shop --reason "find out first"').state is State.SUCCEEDED
    try:
        denied = room.ask("wendy", "restart production web-shop")
        assert denied.card.examples[0] == "restart staging web-shop"
        assert "`restart staging web-shop` would run at once." in denied.hint
        assert "You are on call: in an emergency add `--break-glass INC-…`" in denied.hint
        assert "--break-glass" not in " ".join(denied.card.examples)
        assert "on call" not in room.ask("walter", "restart production web-shop").hint
    finally:
        room.ask("carol", "unfreeze production web-shop")


def test_a_missing_ticket_is_asked_for_and_never_invented(room: Guild) -> None:
    """Where tickets are needed: the option is named, the key is the person's to give."""
    with room.policy_data(tickets={"required": ["production"], "approved_states": ["approved"]}):
        denied = room.ask("wendy", "restart production web-shop")
        assert [r.code for r in denied.decision.reasons] == ["ticket_needed"]
        assert "Add `--ticket` with the key of your change ticket." in denied.hint
        assert "OPS-" not in denied.hint
        assert not any("--ticket" in line for line in denied.card.examples)


def test_what_is_allowed_or_waits_has_no_hint(room: Guild) -> None:
    """Nothing is to be taught there, and nothing is asked for it."""
    waiting = room.ask("wendy", "restart production web-shop")
    assert (waiting.state, waiting.hint) == (State.PENDING, "")
    room.say("wendy", f"cancel {waiting.id}")
    read_at_once = room.ask("wendy", "status web-shop")
    assert read_at_once.hint == ""
    room.until("wendy", read_at_once.id)


def test_why_teaches_the_same(room: Guild) -> None:
    """In the chat and over REST, running nothing."""
    shown = room.say("wendy", "why scale production web-shop 30")
    assert shown.card.title == "Would be: deny"
    assert shown.card.examples == ("scale staging web-shop 20", "scale production web-shop 20")
    body = {"text": "scale production web-shop 30"}
    found = read(room.as_("wendy").post("/v1/decisions", json=body), WhatIf)
    assert found.would_pass == shown.card.examples
    assert found.hint in {f.value for f in shown.card.facts}


def test_a_denial_without_a_policy_is_a_denial_without_a_hint(production: ProductionStage) -> None:
    """Nobody can be asked what would pass; it is the same no. Help says so too, and not that one has no role."""
    with Guild(production) as room:
        production.opa.child.signal(signal.SIGSTOP)
        try:
            denied = room.ask("alice", "deploy staging api-service")
            assert (denied.state, denied.hint) == (State.DENIED, "")
            assert denied.decision.reasons[0].code.startswith("policy_")
            eventually(lambda: room.as_("alice").get("/v1/commands").status_code == 503)
            refused(room.as_("alice").get("/v1/commands"), 503, Code.POLICY_UNAVAILABLE)
            helped = room.say("alice", "help").card
            assert helped.text.startswith("The policy engine took too long")
            assert "have no role" not in helped.text
        finally:
            production.opa.child.signal(signal.SIGCONT)
        eventually(lambda: all(room.as_("alice", node).get("/readyz").json()["ready"] for node in range(2)))


# ---- for others -----------------------------------------------------------------------------------------------


def test_security_and_owners_ask_for_others_everybody_else_only_for_themselves(room: Guild) -> None:
    """Carol for all, Bob for the service he owns, Alice for none; in the chat the same as over REST."""
    for person in ("carol", "bob"):
        shown = room.say(person, "why --as dave deploy production api-service")
        assert (shown.kind, shown.card.title) == ("explanation", "Would be: deny")
        assert {f.label: f.value for f in shown.card.facts}["For"] == "dave"
        assert shown.card.text.startswith("Dave may not do this.")
    body = {"text": "deploy production web-shop", "as_person": "dave"}
    assert room.as_("carol").post("/v1/decisions", json=body).is_success
    refused(room.as_("bob").post("/v1/decisions", json=body), 403, Code.FORBIDDEN)
    refused(room.as_("alice").post("/v1/decisions", json=body), 403, Code.FORBIDDEN)
    own = {"text": "deploy production web-shop", "as_person": "alice"}
    assert read(room.as_("alice").post("/v1/decisions", json=own), WhatIf).person == "alice"


def test_t48_somebody_unknown_is_answered_like_somebody_not_yours(room: Guild) -> None:
    """The same words, for those who may ask as for those who may not: nobody finds out who is here."""

    def asked(person: str, other: str) -> dict[str, Any]:
        body = {"text": "deploy production api-service", "as_person": other}
        answer = refused(room.as_(person).post("/v1/decisions", json=body), 403, Code.FORBIDDEN)
        return answer.model_dump(exclude={"trace_id"})

    assert asked("alice", "bob") == asked("alice", "nobody-here") == asked("carol", "nobody-here")
    assert asked("carol", "opsgate") == asked("carol", "nobody-here")


# ---- help -----------------------------------------------------------------------------------------------------


def test_t48_help_lists_what_one_may_and_explains_the_rest_to_members_only(room: Guild) -> None:
    """Freezing is not Alice's: it is not in her list; what it is she may read, and that it is not hers."""
    listed = {line.split()[0] for line in room.say("alice", "help").card.bullets}
    assert "deploy" in listed
    assert "freeze" not in listed
    shown = room.say("alice", "help freeze")
    assert shown.card.title.startswith("freeze: ")
    assert {f.value for f in shown.card.facts} == {"you may not"}
    assert may(room, "alice")["freeze"] == "deny", "completion marks it"


def test_t48_to_somebody_without_a_role_a_command_that_exists_is_like_one_that_does_not(room: Guild) -> None:
    """Dave asks for help with both: one answer, word for word; and the catalog is empty for him."""
    known, unknown, plain = (room.say("dave", line) for line in ("help deploy", "help deplyo", "help"))
    assert known == unknown == plain
    assert "deploy" not in known.model_dump_json()
    assert may(room, "dave") == {}


def test_help_marks_what_waits_for_approval_and_where(room: Guild) -> None:
    """Per environment, from the policy, for completion."""
    items = room.as_("wendy").get("/v1/commands").json()["items"]
    deploy = next(item for item in items if item["name"] == "deploy")
    assert (deploy["may"], deploy["targets"]) == ("allow", {"staging": "allow", "production": "pending"})


def test_help_follows_the_groups_of_the_moment(room: Guild) -> None:
    """What is kept for quick typing is kept for exactly this person in exactly these groups."""
    groups = room.groups("wendy")
    assert may(room, "wendy")["freeze"] == "deny"
    room.regroup("wendy", ["members", "security", "oncall:web-shop"])
    try:
        assert may(room, "wendy")["freeze"] == "allow"
    finally:
        room.regroup("wendy", groups)
    assert may(room, "wendy")["freeze"] == "deny"
