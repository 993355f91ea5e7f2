# What is refused whatever a team allows.
package gateway_test.guard

import data.gateway.decision
import data.gateway.words
import data.gateway_test.fixtures

freeze := {"scope": "production", "reason": "year end", "by": "carol", "from_ns": 1, "until_ns": 0}

frozen(change) := fixtures.ask(object.union({"freezes": [freeze]}, change))

only(result, code) if {
	result.effect == "deny"
	fixtures.codes(result) == {code}
}

test_an_unproven_identity_may_nothing if {
	only(fixtures.ask({"subject": {"verified": false}}), "unverified_identity")
	only(fixtures.ask({"subject": {"auth": {"assurance": "asserted"}}}), "unverified_identity")
	only(fixtures.ask({"subject": {"verified": false}, "action": {"effect": "read"}}), "unverified_identity")
}

test_bots_may_nothing if only(fixtures.ask({"subject": {"kind": "bot"}}), "bot")

test_a_service_identity_with_the_groups_may if fixtures.ask({"subject": {"kind": "service"}}).effect == "pending"

test_tenants_do_not_mix if {
	only(fixtures.ask({"resource": {"tenant": "other"}}), "tenant_mismatch")
	only(fixtures.ask({"subject": {"tenant": "other"}}), "tenant_mismatch")
	only(fixtures.ask({"tenant": "other"}), "tenant_mismatch")
}

test_an_unknown_target_is_refused if only(fixtures.ask({"resource": {"exists": false}}), "unknown_target")

test_what_nobody_owns_nobody_changes if {
	only(fixtures.ask({"resource": {"owners": []}}), "no_owner")
	fixtures.ask({"resource": {"owners": []}, "action": {"effect": "read"}}).effect == "allow"
}

test_a_freeze_stops_changes_and_says_why if {
	r := frozen({})
	only(r, "frozen")
	contains(fixtures.messages(r), "frozen by carol until lifted: year end")
	only(frozen({"action": {"effect": "destroy"}}), "frozen")
	only(frozen({"approvals": [fixtures.bob]}), "frozen")
}

test_a_freeze_with_an_end_says_when if {
	ending := object.union(freeze, {"until_ns": fixtures.now + (90 * fixtures.minute)})
	contains(fixtures.messages(fixtures.ask({"freezes": [ending]})), "by carol until 2025-11-24 14:30 UTC: year end")
}

test_a25_reads_pass_a_freeze if frozen({"action": {"name": "status", "effect": "read"}}).effect == "allow"

test_security_can_lift_a_freeze_while_it_holds if {
	security := {"subject": {"groups": ["members", "security"]}}
	frozen(object.union(security, {"action": {"name": "unfreeze"}})).effect == "allow"
	frozen(object.union(security, {"action": {"name": "freeze"}})).effect == "allow"
	only(frozen({"action": {"name": "unfreeze"}}), "security_only")
}

test_too_many_targets_are_refused_per_environment if {
	only(fixtures.ask({"blast": {"targets": 11}}), "blast_radius")
	fixtures.ask({"blast": {"targets": 10}}).effect == "pending"
	fixtures.ask({"blast": {"targets": 50}, "resource": {"env": "staging"}}).effect == "allow"
	only(fixtures.ask({"blast": {"targets": 51}, "resource": {"env": "staging"}}), "blast_radius")
}

test_an_environment_without_a_limit_has_the_smallest if {
	only(fixtures.ask({"blast": {"targets": 2}, "resource": {"env": "canary"}}), "blast_radius")
}

test_reads_and_freezes_have_no_blast_limit if {
	fixtures.ask({"blast": {"targets": 500}, "action": {"effect": "read"}}).effect == "allow"
	security := {"subject": {"groups": ["members", "security"]}, "action": {"name": "freeze"}}
	fixtures.ask(object.union(security, {"blast": {"targets": 500}})).effect == "allow"
}

test_destroying_an_unknown_amount_is_refused if {
	only(fixtures.ask({"blast": {"targets": null}, "action": {"effect": "destroy"}}), "blast_unknown")
	fixtures.ask({"blast": {"targets": null}}).effect == "pending"
}

test_targets_are_named_as_people_name_them if {
	named({"service": "a", "env": "staging"}) == "a in staging"
	named({"service": "a", "env": ""}) == "a"
	named({"service": "", "env": "staging"}) == "staging"
	named({"service": "", "env": ""}) == "this target"
}

named(resource) := target if {
	target := words.target with input.resource as resource
}

test_without_owners_security_is_asked if {
	asked := words.ask with input.resource.owners as []
	asked == "security"
}

test_security_freezes_a_whole_environment_that_nobody_owns if {
	r := fixtures.ask({
		"subject": {"groups": ["members", "security"]},
		"action": {"name": "freeze"},
		"resource": {"service": "", "owners": [], "team": ""},
	})
	r.effect == "allow"
}

test_a_broken_limit_is_the_smallest if {
	r := decision.result with input as object.union(fixtures.base, {"blast": {"targets": 2}})
		with data.limits as {"targets": {"production": "many"}}
	fixtures.denied(r, "blast_radius")
}

test_a_wrong_target_is_named_by_its_argument if {
	arguments({"exists": false}) == {"unknown_target": "environment"}
	arguments({"exists": false, "team": "", "owners": []}).unknown_target == "service"
	arguments({"exists": false, "service": ""}) == {"unknown_target": "environment"}
	arguments({"exists": false, "service": "", "env": ""}) == {}
}

arguments(resource) := fixtures.arguments(fixtures.ask({"resource": resource}))

test_too_much_is_named_by_its_argument if {
	fixtures.arguments(fixtures.ask({"blast": {"targets": 11}})) == {"blast_radius": "service"}
	everything := {"blast": {"targets": 11}, "resource": {"service": ""}}
	fixtures.arguments(fixtures.ask(everything)) == {"blast_radius": "environment"}
	unknown := {"blast": {"targets": null}, "action": {"effect": "destroy"}, "resource": {"service": "", "env": ""}}
	fixtures.arguments(fixtures.ask(unknown)) == {}
}

# ---- tokens ---------------------------------------------------------------------------

token(scopes) := {"subject": {"auth": {"method": "api_token", "scopes": scopes}}}

test_a_token_does_only_what_its_scopes_say if {
	r := fixtures.ask(token(["read"]))
	only(r, "scope_missing")
	fixtures.arguments(r) == {}
	contains(fixtures.messages(r), "limited to read")
	fixtures.ask(token(["read", "write"])).effect == "pending"
	fixtures.ask(token([])).effect == "pending"
	only(fixtures.ask(object.union(token(["write"]), {"action": {"effect": "read"}})), "scope_missing")
}

# ---- limits (threats 49 and 50) ---------------------------------------------------------

pending(n) := {"recent": {"pending_by_subject": n}}

rejected(seconds) := {"recent": {"rejected_s": seconds}}

test_t50_whoever_has_too_much_waiting_waits_too if {
	r := fixtures.ask(pending(10))
	only(r, "too_many_pending")
	contains(fixtures.messages(r), "10 is the limit")
	fixtures.ask(pending(9)).effect == "pending"
}

test_t50_what_was_just_rejected_is_not_asked_again_at_once if {
	r := fixtures.ask(rejected(30))
	only(r, "cool_down")
	contains(fixtures.messages(r), "again in 5 minutes")
	contains(fixtures.messages(fixtures.ask(rejected(299))), "again in 1 minute.")
	fixtures.ask(rejected(300)).effect == "pending"
}

test_what_asks_nobody_tires_nobody if {
	every tired in [pending(99), rejected(1)] {
		fixtures.ask(object.union(tired, {"resource": {"env": "staging"}})).effect == "allow"
		fixtures.ask(object.union(tired, {"action": {"name": "status", "effect": "read"}})).effect == "allow"
		fixtures.ask(object.union(tired, {"approvals": [fixtures.bob]})).effect == "allow"
	}
}

test_what_was_asked_before_is_not_stopped_by_the_limits if {
	every phase in ["approve", "execute"] {
		fixtures.ask(object.union(pending(99), {"phase": phase})).effect == "pending"
		fixtures.ask(object.union(rejected(1), {"phase": phase})).effect == "pending"
	}
}

test_limits_that_are_missing_or_broken_are_the_strictest if {
	every limits in [null, {}, {"pending_per_person": "ten", "cool_down_s": null}] {
		fixtures.denied(fixtures.ask_under({"limits": limits}, pending(1)), "too_many_pending")
		fixtures.denied(fixtures.ask_under({"limits": limits}, rejected(86399)), "cool_down")
	}
}

# ---- tickets (A17) ----------------------------------------------------------------------

ticket(change) := {"ticket": object.union(
	{"system": "jira", "id": "OPS-12", "state": "approved", "verified": true, "verified_at_ns": fixtures.now},
	change,
)}

needed := {"tickets": {"required": ["production"], "approved_states": ["approved", "implementing"]}}

test_a17_a_ticket_that_nobody_confirms_is_refused if {
	only(fixtures.ask(ticket({"verified": false})), "ticket_unverified")
	only(fixtures.ask(ticket({"verified": false, "state": ""})), "ticket_unverified")
	only(fixtures.ask(ticket({"verified_at_ns": 0})), "ticket_unverified")
	fixtures.ask(ticket({})).effect == "pending"
}

test_a17_a_ticket_must_be_approved if {
	r := fixtures.ask(ticket({"state": "open"}))
	only(r, "ticket_not_approved")
	contains(fixtures.messages(r), "OPS-12 is open")
	contains(fixtures.messages(fixtures.ask_under(needed, ticket({"state": "open"}))), "approved or implementing")
	fixtures.ask_under(needed, ticket({"state": "implementing"})).effect == "pending"
}

test_a17_an_environment_may_need_one if {
	r := fixtures.ask_under(needed, {})
	only(r, "ticket_needed")
	contains(fixtures.messages(r), "--ticket OPS-12")
	fixtures.ask_under(needed, {"resource": {"env": "staging"}}).effect == "allow"
	only(fixtures.ask_under(needed, {"resource": {"env": ""}}), "ticket_needed")
	fixtures.ask_under(needed, ticket({})).effect == "pending"
}

test_reads_and_switches_need_no_ticket if {
	fixtures.ask_under(needed, {"action": {"name": "status", "effect": "read"}}).effect == "allow"
	security := {"subject": {"groups": ["members", "security"]}, "action": {"name": "freeze"}}
	fixtures.ask_under(needed, security).effect == "allow"
	fixtures.ask(object.union(security, ticket({"verified": false}))).effect == "allow"
}

test_broken_words_about_tickets_stop_changes if {
	every broken in [null, {}, {"required": []}, {"required": "production", "approved_states": ["approved"]}] {
		fixtures.denied(fixtures.ask_under({"tickets": broken}, {}), "bad_data")
		fixtures.ask_under({"tickets": broken}, {"action": {"name": "status", "effect": "read"}}).effect == "allow"
	}
}
