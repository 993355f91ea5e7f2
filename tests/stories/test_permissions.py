"""Who may not: a denial says by which rule, what would be needed and whom to ask, and only to the one who asked."""

from __future__ import annotations

from opsgate.contracts.invocations import State
from tests.stories.room import Room


def test_a_guest_is_denied_and_told_the_rule_what_is_needed_and_whom_to_ask(room: Room) -> None:
    """Dave's deploy: not a member; the owners are named; the examples help on."""
    denied = room.ask("dave", "/ops deploy production api-service")
    assert denied.state is State.DENIED
    assert denied.visibility == "private"
    assert [r.code for r in denied.decision.reasons] == ["not_a_member"]
    assert "`deploy` needs the role developer in team:payments" in denied.card.text
    assert "Ask the owners of api-service (owners:api-service)." in denied.card.text
    assert "help deploy" in denied.card.examples
    assert room.effects(denied.id) == 0
    assert room.audited(denied.id) == ["invocation.asked"], "the audit log has it all the same"


def test_a_denial_is_private_to_the_one_who_asked_and_to_security(room: Room) -> None:
    """Alice neither finds nor lists it; Dave and Carol do."""
    denied = room.ask("dave", "deploy production api-service")
    assert room.as_("alice").get(f"/v1/invocations/{denied.id}").status_code == 404
    assert denied.id not in room.as_("alice").get("/v1/invocations?limit=50").text
    assert denied.id not in " ".join(room.say("alice", "history").card.bullets)
    for person in ("dave", "carol"):
        assert room.see(person, denied.id).state is State.DENIED
        assert denied.id in room.as_(person).get("/v1/invocations?limit=50").text


def test_a_developer_of_another_team_is_told_whose_it_is(room: Room) -> None:
    """Alice is of payments; the shop belongs to team:web."""
    denied = room.ask("alice", "deploy staging web-shop")
    assert [r.code for r in denied.decision.reasons] == ["not_your_team"]
    assert "web-shop in staging belongs to team:web" in denied.card.text


def test_a_change_where_card_data_is_needs_security_too(room: Room) -> None:
    """A team's own rule adds a requirement to the company's: card data is looked at by security."""
    waiting = room.ask("alice", "restart production ledger")
    assert waiting.state is State.PENDING
    assert {s.requirement.id for s in waiting.decision.requirements} == {"owner", "payments_pci"}
    room.say("alice", f"cancel {waiting.id}")


def test_only_security_and_owners_read_the_audit_log(room: Room) -> None:
    """Alice and Dave are refused with words; Bob, an owner, and Carol read it."""
    for person, status in (("alice", 403), ("dave", 403), ("bob", 200), ("carol", 200)):
        assert room.as_(person).get("/v1/audit?limit=1").status_code == status, person


def test_t04_forged_identity_headers_change_nothing(room: Room) -> None:
    """Identity comes from the token alone, whatever a header claims."""
    forged = {
        "X-User": "carol",
        "X-Forwarded-User": "carol",
        "X-Remote-User": "carol",
        "Remote-User": "carol",
        "X-Opsgate-Person": "carol",
        "X-Auth-Request-Groups": "security",
    }
    me = room.as_("dave").get("/v1/whoami", headers=forged).json()
    assert (me["id"], me["groups"]) == ("dave", [])
    assert room.as_("dave").get("/v1/audit", headers=forged).status_code == 403
