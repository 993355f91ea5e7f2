# A question that is not whole is answered with no. tests/policies removes and spoils every single field; here are the kinds.
package gateway_test.shape

import data.gateway.decision
import data.gateway.shape
import data.gateway_test.fixtures

test_nothing_at_all_is_a_no if {
	r := fixtures.answer({})
	fixtures.denied(r, "bad_input")
	r.request_hash == ""
}

test_a_question_that_is_no_object_is_a_no if {
	every question in [null, 1, "x", [], true] { fixtures.answer(question).effect == "deny" }
}

test_every_section_is_missed_by_name if {
	sections := {
		"head", "subject", "action", "resource", "blast", "context",
		"ticket", "request", "approvals", "freezes", "recent",
	}
	broken := shape.broken with input as {}
	broken == sections
}

test_each_missing_section_is_named_in_the_answer if {
	every section in ["subject", "action", "resource", "blast", "context", "ticket", "request", "approvals", "freezes", "recent"] {
		r := fixtures.answer(object.remove(fixtures.base, [section]))
		fixtures.codes(r) == {"bad_input"}
		contains(fixtures.messages(r), section)
	}
}

test_a_cut_command_is_a_no if {
	r := fixtures.ask({"context": {"truncated": true}})
	r.effect == "deny"
	fixtures.codes(r) == {"truncated"}
}

test_another_version_of_the_question_is_a_no if fixtures.denied(fixtures.ask({"schema": "gateway.input/v2"}), "bad_input")

test_a_ticket_is_whole_or_null if {
	whole := {"system": "jira", "id": "OPS-1", "state": "approved", "verified": true, "verified_at_ns": fixtures.now}
	fixtures.ask({"ticket": whole}).effect == "pending"
	every field in ["system", "id", "state", "verified", "verified_at_ns"] {
		fixtures.denied(fixtures.ask({"ticket": object.remove(whole, [field])}), "bad_input")
	}
}

test_a_broken_vote_is_a_no if {
	broken := object.union(fixtures.bob, {"approver": {"assurance": "certain"}})
	fixtures.denied(fixtures.voted([broken]), "bad_input")
}

test_a_day_that_is_none_is_a_no if {
	local := {"Europe/London": {"date": "24 Nov", "weekday": "mon", "minute_of_day": 780}}
	fixtures.denied(fixtures.ask({"now": {"local": local}}), "bad_input")
}

test_a_broken_freeze_is_a_no if fixtures.denied(fixtures.ask({"freezes": [{"scope": "all"}]}), "bad_input")

test_missing_roles_are_a_no if {
	every role in ["member", "developer", "security"] {
		r := decision.result with input as fixtures.base
			with data.roles as object.remove(fixtures.roles, [role])
		fixtures.codes(r) == {"bad_data"}
	}
	r := decision.result with input as fixtures.base
		with data.roles as object.union(fixtures.roles, {"security": []})
	fixtures.codes(r) == {"bad_data"}
}

test_missing_data_never_opens_anything if {
	r := decision.result with input as object.union(fixtures.base, {"resource": {"env": "staging"}})
		with data.open_environments as null
		with data.limits as null
	r.effect == "pending"
	s := decision.result with input as object.union(fixtures.base, {"resource": {"env": "staging"}, "blast": {"targets": 2}})
		with data.limits as null
	fixtures.denied(s, "blast_radius")
}
