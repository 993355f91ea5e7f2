# How answers are put together: deny > pending > allow > no rule = deny.
package gateway_test.decision

import data.gateway.decision
import data.gateway_test.fixtures

test_answer_has_the_agreed_shape if {
	object.keys(fixtures.ask({})) == {
		"schema", "effect", "request_hash", "reasons",
		"grants", "require", "auto", "unmet", "obligations",
	}
	object.keys(fixtures.answer({})) == object.keys(fixtures.ask({}))
	fixtures.ask({}).auto == []
	fixtures.ask({}).schema == "gateway.decision/v1"
}

test_answer_echoes_the_hash_it_is_about if fixtures.ask({}).request_hash == "sha256:aaa"

test_allow_names_its_rule_and_owes_nothing if {
	r := fixtures.ask({"resource": {"env": "staging"}})
	r.effect == "allow"
	r.grants == [{"rule": "developers_change_their_own"}]
	r.obligations == []
	fixtures.codes(r) == {"allowed"}
}

test_pending_says_who_is_asked_and_for_how_long if {
	r := fixtures.ask({})
	r.effect == "pending"
	r.unmet == ["owner"]
	fixtures.codes(r) == {"approval_needed"}
	contains(fixtures.messages(r), "1 person from owners:api-service")
	contains(fixtures.messages(r), "60 minutes")
}

test_no_rule_is_a_no if {
	r := decision.result with input as fixtures.base
		with data.gateway.members.allow as set()
	r.effect == "deny"
	fixtures.codes(r) == {"no_rule"}
}

test_a_team_may_allow_more if {
	r := decision.result with input as object.union(fixtures.base, {"subject": {"groups": ["members"]}, "resource": {"env": "staging"}})
		with data.gateway.teams.payments.allow as {{"rule": "payments_anybody"}}
	r.effect == "allow"
	r.grants == [{"rule": "payments_anybody"}]
}

test_a_team_can_never_allow_what_the_guard_denies if {
	r := decision.result with input as object.union(fixtures.base, {"subject": {"kind": "bot"}})
		with data.gateway.teams.payments.allow as {{"rule": "payments_everything"}}
	fixtures.denied(r, "bot")
	r.grants == []
}

test_a_team_can_never_let_an_outsider_in if {
	r := decision.result with input as object.union(fixtures.base, {"subject": {"groups": []}})
		with data.gateway.teams.payments.allow as {{"rule": "payments_everything"}}
	fixtures.denied(r, "not_a_member")
}

test_a_team_can_never_skip_an_approval if {
	r := decision.result with input as fixtures.base
		with data.gateway.teams.payments.allow as {{"rule": "payments_everything"}}
		with data.gateway.teams.payments.require as set()
	r.effect == "pending"
}

test_a_team_has_no_say_about_targets_of_others if {
	r := decision.result with input as object.union(fixtures.base, {"resource": {"team": "team:web", "env": "staging"}})
		with data.gateway.teams.payments.allow as {{"rule": "payments_everything"}}
		with data.gateway.teams.payments.deny as {{"code": "never", "msg": "Never."}}
	r.effect == "deny"
	fixtures.codes(r) == {"not_your_team"}
}

test_a_team_may_deny_ask_for_more_and_oblige if {
	r := decision.result with input as fixtures.base
		with data.gateway.teams.payments.deny as {{"code": "never", "msg": "Never."}}
	fixtures.denied(r, "never")
	more := {"id": "lead", "groups": ["payments-leads"], "quorum": 2, "ttl_s": 600}
	s := decision.result with input as object.union(fixtures.base, {"resource": {"env": "staging"}})
		with data.gateway.teams.payments.require as {more}
		with data.gateway.teams.payments.obligations as {{"id": "notify", "groups": ["payments-leads"]}}
	s.effect == "pending"
	s.require == [more]
	s.obligations == [{"id": "notify", "groups": ["payments-leads"]}]
	contains(fixtures.messages(s), "2 people from payments-leads")
}

test_a_requirement_without_id_keeps_it_waiting if {
	r := decision.result with input as object.union(fixtures.base, {"resource": {"env": "staging"}})
		with data.gateway.teams.payments.require as {{"groups": ["security"]}}
	r.effect == "pending"
}

test_a_denial_asks_nobody_for_approval if {
	r := fixtures.ask({"freezes": [{"scope": "all", "reason": "x", "by": "carol", "from_ns": 0, "until_ns": 0}]})
	r.require == []
	r.unmet == []
}

test_long_messages_are_cut if {
	long := concat("", [sprintf("%d,", [i]) | some i in numbers.range(1, 400)])
	r := decision.result with input as fixtures.base
		with data.gateway.teams.payments.deny as {{"code": "never", "msg": long}}
	count(r.reasons[0].msg) == 500
}

test_an_allow_says_nothing_but_allowed if {
	fixtures.codes(fixtures.voted([fixtures.bob, fixtures.carol])) == {"allowed"}
	support := {"subject": {"groups": ["members", "payments-support"]}, "action": {"name": "restart"}}
	fixtures.codes(fixtures.ask(object.union(support, {"resource": {"env": "staging"}}))) == {"allowed"}
}

test_a_pending_answer_explains_only_what_is_waited_for if {
	more := {"id": "lead", "groups": ["payments-leads"], "quorum": 1, "ttl_s": 600}
	r := decision.result with input as object.union(fixtures.base, {"subject": {"groups": ["members"]}})
		with data.gateway.teams.payments.allow as {{"rule": "payments_anybody"}}
		with data.gateway.teams.payments.require as {more}
	fixtures.codes(r) == {"approval_needed"}
}

test_developing_is_no_excuse_for_reads_and_switches if {
	every change in [
		{"subject": {"groups": ["members", "security"]}, "action": {"effect": "read"}},
		{"subject": {"groups": ["members", "security"]}, "action": {"name": "freeze"}},
		{"subject": {"groups": ["members", "developers"]}, "action": {"effect": "read"}},
	] {
		r := decision.result with input as object.union(fixtures.base, change)
			with data.gateway.members.allow as set()
		fixtures.codes(r) == {"no_rule"}
	}
}

# ---- a rule in the place of people (A18) -----------------------------------------------------

lead := {"id": "lead", "groups": ["payments-leads"], "quorum": 1, "ttl_s": 600}

filled(requirements, approvals, given) := result if {
	result := decision.result with input as object.union(fixtures.base, {"resource": {"env": "staging"}, "approvals": given})
		with data.gateway.teams.payments.require as requirements
		with data.gateway.teams.payments.auto_approve as approvals
}

by_rule(id) := {{"rule": "payments_small", "requirement": id}}

test_a18_a_rule_fills_a_requirement_that_lets_it if {
	r := filled({object.union(lead, {"auto": true})}, by_rule("lead"), [])
	r.effect == "allow"
	r.auto == [{"rule": "payments_small", "requirement": "lead"}]
}

test_a18_a_rule_never_stands_in_for_people if {
	every requirement in [lead, object.union(lead, {"auto": false}), object.union(lead, {"auto": "true"})] {
		r := filled({requirement}, by_rule("lead"), [])
		r.effect == "pending"
		r.auto == []
		r.unmet == ["lead"]
	}
}

test_a18_a_rule_fills_only_what_it_names if {
	r := filled({object.union(lead, {"auto": true})}, by_rule("other"), [])
	r.effect == "pending"
	r.auto == []
}

test_a18_a_requirement_of_the_same_name_stays_with_people if {
	r := decision.result with input as fixtures.base
		with data.gateway.teams.payments.require as {object.union(lead, {"id": "owner", "auto": true})}
		with data.gateway.teams.payments.auto_approve as by_rule("owner")
	r.effect == "pending"
	r.unmet == ["owner"]
}

test_a18_a_team_rule_never_fills_what_security_asks_for if {
	r := decision.result with input as object.union(fixtures.base, {"action": {"effect": "destroy"}})
		with data.gateway.teams.payments.auto_approve as by_rule("destroy_owner") | by_rule("destroy_security")
	r.effect == "pending"
	r.auto == []
}

test_a18_what_a_rule_fills_takes_nobody_from_the_others if {
	two := object.union(lead, {"id": "two", "groups": ["security"], "distinct_from": {"groups": lead.groups, "quorum": 1}})
	carol := fixtures.vote("carol", ["security", "payments-leads"])
	filled({object.union(lead, {"auto": true}), two}, by_rule("lead"), [carol]).effect == "allow"
	filled({lead, two}, by_rule("lead"), [carol]).effect == "pending"
}

test_a_denial_names_no_rule_that_would_have_approved if {
	r := decision.result with input as object.union(fixtures.base, {"subject": {"kind": "bot"}})
		with data.gateway.teams.payments.require as {object.union(lead, {"auto": true})}
		with data.gateway.teams.payments.auto_approve as by_rule("lead")
	fixtures.denied(r, "bot")
	r.auto == []
}

test_a23_no_message_names_who_could_approve if {
	r := fixtures.voted([fixtures.vote("dave", ["members"]), object.union(fixtures.bob, {"approver": {"id": "erin"}, "revoked": true})])
	r.effect == "pending"
	every person in ["dave", "erin", "bob"] { not contains(fixtures.messages(r), person) }
	no := fixtures.voted([fixtures.no(fixtures.bob)])
	not contains(fixtures.messages(no), "bob")
	contains(fixtures.messages(no), "owners:api-service")
}
