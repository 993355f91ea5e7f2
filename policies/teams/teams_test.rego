# The example rules of two teams.
package gateway_test.teams

import data.gateway_test.fixtures

card_data := {"resource": {"service": "ledger", "owners": ["owners:ledger"], "labels": {"pci": "true"}}}

erin := fixtures.vote("erin", ["owners:ledger"])

test_card_data_needs_security_besides_the_owner if {
	r := fixtures.ask(card_data)
	{u | some u in r.unmet} == {"owner", "payments_pci"}
	fixtures.ask(object.union(card_data, {"approvals": [erin, fixtures.carol]})).effect == "allow"
	fixtures.ask(object.union(card_data, {"approvals": [fixtures.vote("x", ["owners:ledger", "security"])]})).effect == "pending"
}

test_card_data_in_staging_needs_nobody if {
	fixtures.ask(object.union(card_data, {"resource": {"env": "staging"}})).effect == "allow"
}

support := {"subject": {"groups": ["members", "payments-support"]}, "action": {"name": "restart"}}

test_payments_support_restarts_in_staging_only if {
	fixtures.ask(object.union(support, {"resource": {"env": "staging"}})).grants == [{"rule": "payments_support_restarts"}]
	fixtures.denied(fixtures.ask(support), "role_missing")
}

web := {
	"subject": {"groups": ["members", "developers", "team:web"]},
	"resource": {"service": "web-shop", "team": "team:web", "owners": ["owners:web-shop"], "env": "staging"},
}

scaled(args) := fixtures.ask(object.union(web, {"action": {"name": "scale", "args": args}}))

test_web_scales_to_twenty_at_most if {
	scaled({"replicas": 20}).effect == "allow"
	fixtures.denied(scaled({"replicas": 21}), "too_many_replicas")
	fixtures.denied(scaled({"replicas": "two"}), "too_many_replicas")
	fixtures.denied(scaled({"replicas": true}), "too_many_replicas")
	fixtures.denied(scaled({"count": 2}), "too_many_replicas")
	fixtures.arguments(scaled({"replicas": 21})) == {"too_many_replicas": "replicas"}
}

# ---- a rule in the place of an owner (A18) --------------------------------------------------

small(args, commands) := fixtures.ask_under(
	{"auto_approval": {"commands": commands}},
	object.union(web, {"action": {"name": "scale", "args": args}, "resource": {"env": "production"}}),
)

test_a18_a_small_step_waits_for_the_owner_unless_security_said_otherwise if {
	r := small({"replicas": 5}, [])
	r.effect == "pending"
	r.auto == []
	r.unmet == ["owner"]
}

test_a18_a_named_rule_approves_where_security_lets_it if {
	r := small({"replicas": 5}, ["scale"])
	r.effect == "allow"
	r.auto == [{"rule": "web_small_scale", "requirement": "owner"}]
	r.require[0].auto == true
	r.unmet == []
	contains(fixtures.messages(r), "approved by policy:web_small_scale")
}

test_a18_it_approves_small_steps_only if {
	every args in [{"replicas": 6}, {"replicas": "5"}, {}] {
		small(args, ["scale"]).effect != "allow"
		small(args, ["scale"]).auto == []
	}
}

test_a18_one_no_ends_it_all_the_same if {
	r := fixtures.ask_under({"auto_approval": {"commands": ["scale"]}}, object.union(web, {
		"action": {"name": "scale", "args": {"replicas": 2}},
		"resource": {"env": "production"},
		"approvals": [fixtures.no(fixtures.carol)],
	}))
	fixtures.denied(r, "rejected")
	r.auto == []
}

test_card_data_asks_security_for_changes_only if {
	security := {"subject": {"groups": ["members", "security"]}, "action": {"name": "freeze"}}
	fixtures.ask(object.union(card_data, security)).effect == "allow"
	fixtures.ask(object.union(card_data, {"action": {"effect": "read"}})).require == []
	destroying := fixtures.ask(object.union(card_data, {"action": {"effect": "destroy"}}))
	{u | some u in destroying.unmet} == {"destroy_owner", "destroy_security"}
}

broken_glass := {
	"subject": {"id": "olga", "groups": ["members", "oncall:ledger", "oncall:api-service"]},
	"request": {"break_glass": {"requested": true, "reason": "checkout is down for everybody", "incident": "INC-42"}},
}

test_a_broken_glass_passes_the_teams_rules if {
	fixtures.ask(object.union(card_data, broken_glass)).effect == "allow"
}

test_support_does_nothing_else if {
	r := fixtures.ask(object.union(support, {"action": {"name": "deploy"}, "resource": {"env": "staging"}}))
	fixtures.denied(r, "role_missing")
}
