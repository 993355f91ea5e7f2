# The example rules of two teams.
package gateway_test.teams

import data.gateway.decision
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

hours := {"api-service": {
	"zone": "Europe/London",
	"weekdays": ["mon", "tue"],
	"from_minute": 540,
	"to_minute": 990,
	"text": "Monday and Tuesday 9:00 to 16:30 London",
}}

at(local) := asked_at(local, {})

asked_at(local, change) := result if {
	result := decision.result with input as object.union(object.union(fixtures.base, change), {"now": {"local": local}})
		with data.roles as fixtures.roles
		with data.hours as hours
}

london(weekday, minute) := {"Europe/London": {"date": "2025-11-24", "weekday": weekday, "minute_of_day": minute}}

test_hours_are_kept_in_local_time if {
	at(london("mon", 540)).effect == "pending"
	at(london("mon", 989)).effect == "pending"
	fixtures.denied(at(london("mon", 539)), "outside_hours")
	fixtures.denied(at(london("mon", 990)), "outside_hours")
	fixtures.denied(at(london("sun", 600)), "outside_hours")
}

test_hours_that_cannot_be_told_are_outside if {
	r := decision.result with input as fixtures.base
		with data.hours as {"api-service": {"zone": "Mars/Base", "weekdays": ["mon"], "from_minute": 0, "to_minute": 1440, "text": "x"}}
	fixtures.denied(r, "outside_hours")
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
	asked_at(london("sun", 600), broken_glass).effect == "allow"
}

test_support_does_nothing_else if {
	r := fixtures.ask(object.union(support, {"action": {"name": "deploy"}, "resource": {"env": "staging"}}))
	fixtures.denied(r, "role_missing")
}

test_hours_are_for_changes_where_it_matters if {
	asked_at(london("sun", 600), {"action": {"effect": "read"}}).effect == "allow"
	asked_at(london("sun", 600), {"resource": {"env": "staging"}}).effect == "allow"
	security := {"subject": {"groups": ["members", "security"]}, "action": {"name": "freeze"}}
	asked_at(london("sun", 600), security).effect == "allow"
}
