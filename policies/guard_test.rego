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
	contains(fixtures.messages(r), "year end")
	only(frozen({"action": {"effect": "destroy"}}), "frozen")
	only(frozen({"approvals": [fixtures.bob]}), "frozen")
}

test_reads_pass_a_freeze if frozen({"action": {"name": "status", "effect": "read"}}).effect == "allow"

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
