# The emergency way: on call, with an incident and a reason; never silent.
package gateway_test.break_glass

import data.gateway.decision
import data.gateway_test.fixtures

emergency := {
	"subject": {"id": "olga", "groups": ["members", "oncall:api-service"]},
	"request": {"break_glass": {"requested": true, "reason": "checkout is down for everybody", "incident": "INC-42"}},
	"freezes": [{"scope": "all", "reason": "year end", "by": "carol", "from_ns": 1, "until_ns": 0}],
	"blast": {"targets": 40},
}

but(change) := fixtures.ask(object.union(emergency, change))

test_a14_on_call_passes_freeze_limit_and_approval_but_never_silently if {
	r := but({})
	r.effect == "allow"
	r.grants == [{"rule": "break_glass"}]
	r.require == []
	r.obligations == [
		{"groups": ["owners:api-service"], "id": "notify"},
		{"groups": ["security"], "id": "page"},
		{"groups": ["security"], "id": "post_review", "within_s": 86400},
		{"id": "time_limit", "start_within_s": 900},
	]
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

test_a14_it_needs_on_call_a_reason_and_an_incident if {
	every change in [
		{"subject": {"groups": ["members", "oncall:web-shop"]}},
		{"request": {"break_glass": {"reason": "pls                              "}}},
		{"request": {"break_glass": {"incident": "soon"}}},
		{"subject": {"kind": "service"}},
		{"subject": {"auth": {"method": "api_token"}}},
		{"subject": {"via": {"actor_chain": ["robot"]}}},
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

test_a14_an_open_review_blocks_the_next_one if {
	r := but({"recent": {"open_reviews": 2}})
	fixtures.denied(r, "review_open")
	fixtures.codes(r) == {"review_open", "frozen", "blast_radius"}
	contains(fixtures.messages(r), "open reviews: 2")
	contains(fixtures.messages(r), "Ask security to close the oldest first")
	r.obligations == []
}

test_a14_a_review_blocks_nothing_else if {
	fixtures.ask({"recent": {"open_reviews": 2}, "approvals": [fixtures.bob]}).effect == "allow"
}

# Breaking the glass is for one's own command; being on call makes nobody an approver.
test_a14_being_on_call_is_no_approval_of_what_others_ask if {
	r := fixtures.voted([fixtures.vote("olga", ["members", "oncall:api-service"])])
	fixtures.codes(r) == {"approval_needed", "vote_not_eligible"}
}

test_a14_who_breaks_the_glass_still_does_not_approve_their_own if {
	own := [fixtures.vote("olga", ["owners:api-service", "security"])]
	r := but({"action": {"name": "migrate", "effect": "destroy"}, "approvals": own})
	"self_approval" in fixtures.codes(r)
}

test_a15_on_call_is_a_group_that_a_requirement_may_ask if {
	r := decision.result with input as object.union(fixtures.base, {
		"resource": {"env": "staging"},
		"approvals": [fixtures.vote("olga", ["members", "oncall:api-service"])],
	})
		with data.gateway.teams.payments.require as {{
			"id": "watch", "groups": ["oncall:api-service"], "quorum": 1, "ttl_s": 600,
		}}
	r.effect == "allow"
}

test_a14_it_passes_windows_tickets_and_limits if {
	r := fixtures.ask_under(
		{
			"tickets": {"required": ["production"]},
			"windows": [{
				"name": "never", "kind": "deny", "environments": [], "services": [], "zone": "Mars/Base",
				"weekdays": [], "from": "00:00", "to": "00:00",
			}],
		},
		object.union(emergency, {
			"action": {"name": "migrate", "effect": "destroy"},
			"recent": {"pending_by_subject": 99, "rejected_s": 1},
		}),
	)
	r.effect == "pending"
	fixtures.codes(r) == {"approval_needed"}
}

# ---- the gateway's own principal --------------------------------------------------------

pager := {
	"subject": {
		"id": "opsgate", "kind": "service", "groups": ["opsgate"], "linked_ids": [],
		"auth": {"method": "gateway"}, "via": {"actor_chain": []},
	},
	"action": {"name": "page", "args": {"group": "security", "text": "INC-42"}},
	"resource": {"service": "", "env": "", "team": "", "owners": []},
	"freezes": emergency.freezes,
}

paged(change) := fixtures.ask(object.union(pager, change))

test_a14_the_gateway_pages_whatever_holds_changes_up if {
	r := paged({})
	r.effect == "allow"
	r.grants == [{"rule": "gateway_pages"}]
	r.require == []
	paged({"resource": {"service": "ledger", "env": "production", "labels": {"pci": "true"}}}).effect == "allow"
}

test_the_gateway_does_nothing_else if {
	fixtures.denied(paged({"action": {"name": "deploy"}}), "not_a_member")
	fixtures.denied(paged({"action": {"effect": "destroy"}}), "not_a_member")
}

test_nobody_can_be_the_gateway if {
	every change in [
		{"subject": {"auth": {"method": "token"}}},
		{"subject": {"id": "alice"}},
		{"subject": {"kind": "human"}},
	] {
		r := paged(change)
		fixtures.denied(r, "reserved_identity")
	}
	fixtures.denied(fixtures.ask({"subject": {"id": "opsgate"}}), "reserved_identity")
	fixtures.denied(fixtures.ask({"subject": {"auth": {"method": "gateway"}}}), "reserved_identity")
}

test_people_do_not_page_through_the_gateway if {
	fixtures.denied(fixtures.ask({"action": pager.action, "resource": pager.resource}), "no_owner")
}
