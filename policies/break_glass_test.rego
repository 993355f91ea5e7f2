# The emergency way: on call, with an incident and a reason; never silent.
package gateway_test.break_glass

import data.gateway_test.fixtures

emergency := {
	"subject": {"id": "olga", "groups": ["members", "oncall:api-service"]},
	"request": {"break_glass": {"requested": true, "reason": "checkout is down for everybody", "incident": "INC-42"}},
	"freezes": [{"scope": "all", "reason": "year end", "by": "carol", "from_ns": 1, "until_ns": 0}],
	"blast": {"targets": 40},
}

but(change) := fixtures.ask(object.union(emergency, change))

test_on_call_passes_freeze_limit_and_approval_but_never_silently if {
	r := but({})
	r.effect == "allow"
	r.grants == [{"rule": "break_glass"}]
	r.require == []
	{o.id | some o in r.obligations} == {"page", "post_review"}
}

test_destroying_still_needs_one_other_person if {
	destroying := {"action": {"name": "migrate", "effect": "destroy"}}
	r := but(destroying)
	r.effect == "pending"
	r.unmet == ["break_glass_destroy"]
	but(object.union(destroying, {"approvals": [fixtures.carol]})).effect == "allow"
	but(object.union(destroying, {"approvals": [fixtures.bob]})).effect == "allow"
	but(object.union(destroying, {"approvals": [fixtures.vote("olga", ["security"])]})).effect == "pending"
}

test_it_needs_on_call_a_reason_and_an_incident if {
	every change in [
		{"subject": {"groups": ["members", "oncall:web-shop"]}},
		{"request": {"break_glass": {"reason": "pls                              "}}},
		{"request": {"break_glass": {"incident": "soon"}}},
		{"subject": {"kind": "service"}},
	] {
		fixtures.denied(but(change), "break_glass_refused")
	}
}

test_it_does_not_make_a_bot_or_an_outsider_welcome if {
	fixtures.denied(but({"subject": {"groups": ["oncall:api-service"]}}), "not_a_member")
	fixtures.denied(but({"subject": {"verified": false}}), "unverified_identity")
}

test_a_no_from_security_stops_it if fixtures.denied(but({"approvals": [fixtures.no(fixtures.carol)]}), "rejected")

test_it_hands_out_no_switches if fixtures.denied(but({"action": {"name": "unfreeze"}}), "security_only")

test_it_is_never_broken_unasked if {
	r := but({"request": {"break_glass": {"requested": false}}})
	fixtures.denied(r, "frozen")
	r.obligations == []
}
