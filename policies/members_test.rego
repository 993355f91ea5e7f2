# Who may ask for what.
package gateway_test.members

import data.gateway.decision
import data.gateway.members
import data.gateway_test.fixtures

guest := {"subject": {"id": "dave", "groups": []}}

security := {"subject": {"id": "carol", "groups": ["members", "security"]}}

staging := {"resource": {"env": "staging"}}

reading := {"action": {"name": "status", "effect": "read"}}

action(name) := {"action": {"name": name}}

migrating := {"action": {"name": "migrate", "effect": "destroy"}}

test_members_read_everywhere if {
	r := fixtures.ask(object.union(reading, security))
	r.effect == "allow"
	r.grants == [{"rule": "members_read"}]
	r.require == []
}

test_members_read_targets_of_other_teams if {
	fixtures.ask(object.union(reading, {"resource": {"team": "team:web"}})).effect == "allow"
}

test_guests_are_told_the_rule_what_is_needed_and_whom_to_ask if {
	r := fixtures.ask(guest)
	r.effect == "deny"
	r.reasons == [{
		"code": "not_a_member",
		"msg": concat(" ", [
			"You have no role here: `deploy` needs the role developer in team:payments.",
			"Ask the owners of api-service (owners:api-service).",
		]),
	}]
}

test_guests_do_not_even_read if {
	r := fixtures.ask(object.union(reading, guest))
	fixtures.denied(r, "not_a_member")
	contains(fixtures.messages(r), "`status` needs the role member")
}

test_developers_change_what_their_team_owns if fixtures.ask(staging).effect == "allow"

test_changing_needs_the_role_developer if {
	r := fixtures.ask(object.union(staging, {"subject": {"groups": ["members", "team:payments"]}}))
	r.effect == "deny"
	fixtures.codes(r) == {"role_missing"}
	contains(fixtures.messages(r), "the role developer in team:payments")
}

test_changing_needs_the_owning_team if {
	r := fixtures.ask(object.union(staging, {"subject": {"groups": ["members", "developers", "team:web"]}}))
	r.effect == "deny"
	fixtures.codes(r) == {"not_your_team"}
	contains(fixtures.messages(r), "belongs to team:payments")
}

test_production_needs_one_owner if {
	r := fixtures.ask({})
	r.effect == "pending"
	r.require == [{
		"id": "owner", "groups": ["owners:api-service"], "quorum": 1, "ttl_s": 3600, "assurance": "verified",
	}]
}

test_an_environment_nobody_listed_needs_one_too if {
	fixtures.ask({"resource": {"env": "prod"}}).effect == "pending"
	fixtures.ask({"resource": {"env": ""}}).effect == "pending"
}

test_an_owner_agrees_and_it_runs if {
	r := fixtures.voted([fixtures.bob])
	r.effect == "allow"
	r.unmet == []
	count(r.require) == 1
}

test_destroying_needs_an_owner_and_security_even_in_staging if {
	r := fixtures.ask(object.union(migrating, staging))
	r.effect == "pending"
	{u | some u in r.unmet} == {"destroy_owner", "destroy_security"}
	{requirement.ttl_s | some requirement in r.require} == {1800}
	contains(fixtures.messages(r), "not the same person as for security")
}

test_destroying_runs_with_both if {
	both := [fixtures.bob, fixtures.carol]
	fixtures.ask(object.union(migrating, {"approvals": fixtures.signed(both)})).effect == "allow"
}

test_a20_destroying_asks_for_a_sign_in_of_its_own_where_it_matters if {
	proofs(migrating, {}) == {"oidc"}
	proofs(object.union(migrating, staging), {}) == {"verified"}
	proofs(migrating, {"assurance": {"destroy": "oidc_mfa"}}) == {"oidc_mfa"}
	proofs(migrating, {"assurance": {"destroy": "verified"}}) == {"verified"}
	contains(fixtures.messages(fixtures.ask(migrating)), "signed in again for it")
}

test_a_proof_that_is_none_is_the_strongest if {
	every broken in [{"destroy": "asserted"}, {"destroy": "sms"}, {"destroy": 7}, null, {}] {
		r := decision.result with input as object.union(fixtures.base, migrating)
			with data.assurance as broken
		{requirement.assurance | some requirement in r.require} == {"oidc_mfa"}
	}
}

proofs(change, said) := {requirement.assurance | some requirement in fixtures.ask_under(said, change).require}

test_security_freezes_and_unfreezes_at_once if {
	every name in ["freeze", "unfreeze"] {
		r := fixtures.ask(object.union(security, action(name)))
		r.effect == "allow"
		r.grants == [{"rule": "security_switches"}]
		r.require == []
	}
}

test_nobody_else_freezes_or_unfreezes if {
	every name in ["freeze", "unfreeze"] {
		r := fixtures.ask(action(name))
		r.effect == "deny"
		fixtures.codes(r) == {"security_only"}
	}
	r := fixtures.ask(object.union(guest, action("freeze")))
	contains(fixtures.messages(r), "`freeze` needs the role security")
}

test_being_in_no_team_is_not_the_team_of_what_nobody_owns if {
	r := fixtures.ask({"subject": {"groups": ["members", "developers", ""]}, "resource": {"team": "", "env": "staging"}})
	fixtures.denied(r, "no_owner")
	s := fixtures.ask(object.union(guest, {"resource": {"team": ""}}))
	contains(fixtures.messages(s), "in the owning team")
}

test_one_rule_allows_one_thing if {
	everything := {"subject": {"groups": ["members", "developers", "team:payments", "security"]}}
	fixtures.ask(object.union(everything, reading)).grants == [{"rule": "members_read"}]
	fixtures.ask(object.union(everything, action("freeze"))).grants == [{"rule": "security_switches"}]
	fixtures.ask(object.union(everything, staging)).grants == [{"rule": "developers_change_their_own"}]
}

test_each_rule_holds_without_the_guard if {
	none := members.allow with input as object.union(fixtures.base, object.union(reading, guest))
	none == set()
	nobody := members.allow with input as object.union(fixtures.base, action("freeze"))
	nobody == set()
}
