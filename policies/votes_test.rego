# Which votes count, and when they are enough.
package gateway_test.votes

import data.gateway.votes
import data.gateway_test.fixtures

# Still waiting, and told why this vote did not help.
useless(given, code) if {
	r := fixtures.voted([given])
	r.effect == "pending"
	code in fixtures.codes(r)
}

changed(change) := object.union(fixtures.bob, change)

owner := ["owners:api-service"]

test_nobody_approves_their_own_command if useless(fixtures.vote("alice", owner), "self_approval")

test_not_even_from_a_linked_account if useless(fixtures.vote("slack:T1:U1", owner), "self_approval")

test_nor_by_whoever_acts_for_them if useless(fixtures.vote("deploy-bot", owner), "self_approval")

test_nor_through_somebody_else if {
	useless(changed({"approver": {"on_behalf_of": "alice"}}), "self_approval")
	useless(changed({"approver": {"on_behalf_of": "slack:T1:U1"}}), "self_approval")
}

test_only_people_with_a_linked_account_vote if {
	useless(changed({"approver": {"verified": false}}), "vote_not_personal")
	useless(changed({"approver": {"kind": "bot"}}), "vote_not_personal")
	useless(changed({"approver": {"kind": "service"}}), "vote_not_personal")
}

test_a_vote_is_for_one_exact_command if useless(changed({"request_hash": "sha256:bbb"}), "vote_void")

test_a_vote_taken_back_is_gone if useless(changed({"revoked": true}), "vote_void")

test_a_vote_is_good_from_when_it_was_given_until_it_expires if {
	useless(changed({"expires_ns": fixtures.now}), "vote_expired")
	useless(changed({"at_ns": fixtures.now + 1}), "vote_expired")
}

test_a_vote_cannot_outlive_the_requirements_time if {
	useless(changed({"at_ns": fixtures.now - (60 * fixtures.minute)}), "vote_not_eligible")
	fixtures.voted([changed({"at_ns": fixtures.now - (59 * fixtures.minute)})]).effect == "allow"
}

test_only_the_asked_groups_count if useless(fixtures.carol, "vote_not_eligible")

test_an_unproven_voter_does_not_count if useless(changed({"approver": {"assurance": "asserted"}}), "vote_not_eligible")

test_an_older_policy_is_good_for_a_write_but_not_for_a_destroy if {
	old := changed({"policy_revision": "git:old"})
	fixtures.voted([old]).effect == "allow"
	r := destroy([old, fixtures.carol])
	r.effect == "pending"
	r.unmet == ["destroy_owner"]
}

# ---- quorum ---------------------------------------------------------------------------

destroy(given) := fixtures.ask({"action": {"name": "migrate", "effect": "destroy"}, "approvals": fixtures.signed(given)})

unmet(given) := {u | some u in destroy(given).unmet}

both := fixtures.vote("erin", ["members", "owners:api-service", "security"])

test_each_stage_is_met_by_its_own_people if {
	unmet([fixtures.bob]) == {"destroy_security"}
	unmet([fixtures.carol]) == {"destroy_owner"}
	unmet([fixtures.bob, fixtures.carol]) == set()
}

test_one_person_fills_one_place if {
	count(unmet([both])) == 1
	destroy([both, both]).effect == "pending"
	destroy([both, object.union(both, {"id": "vote_again", "platform": "terminal"})]).effect == "pending"
}

test_whoever_fits_both_goes_where_nobody_else_can if {
	destroy([both, fixtures.bob]).effect == "allow"
	destroy([both, fixtures.carol]).effect == "allow"
}

needs(id, group, quorum, other) := {
	"id": id, "groups": [group], "quorum": quorum, "ttl_s": 3600,
	"distinct_from": {"groups": [other], "quorum": 1},
}

all_met(requirements, given) if {
	every requirement in requirements { met(requirement, requirements, given) }
}

met(requirement, requirements, given) if {
	votes.met(requirement, requirements) with input as object.union(fixtures.base, {"approvals": given})
}

test_quorum_counts_people if {
	two := {"id": "two", "groups": ["a"], "quorum": 2, "ttl_s": 3600}
	not met(two, {two}, [fixtures.vote("p", ["a"]), fixtures.vote("p", ["a"])])
	met(two, {two}, [fixtures.vote("p", ["a"]), fixtures.vote("q", ["a"])])
}

test_three_stages_need_three_people if {
	three := {needs("x", "a", 1, "b"), needs("y", "b", 1, "c"), needs("z", "c", 1, "a")}
	p := fixtures.vote("p", ["a", "b", "c"])
	q := fixtures.vote("q", ["a", "b", "c"])
	not all_met(three, [p, q])
	all_met(three, [p, q, fixtures.vote("r", ["c"])])
}

test_larger_quorums_of_two_stages_share_nobody if {
	stages := {needs("x", "a", 2, "b"), needs("y", "b", 1, "a")}
	p := fixtures.vote("p", ["a", "b"])
	q := fixtures.vote("q", ["a", "b"])
	not all_met(stages, [p, q])
	all_met(stages, [p, q, fixtures.vote("r", ["a"])])
	not all_met(stages, [p, fixtures.vote("r", ["b"]), fixtures.vote("s", ["b"])])
}

test_requirements_that_do_not_mind_may_share_a_person if {
	free := {
		{"id": "x", "groups": ["a"], "quorum": 1, "ttl_s": 3600},
		{"id": "y", "groups": ["b"], "quorum": 1, "ttl_s": 3600},
	}
	all_met(free, [fixtures.vote("p", ["a", "b"])])
}

test_a_requirement_can_ask_for_a_stronger_sign_in if {
	strict := {"id": "x", "groups": ["a"], "quorum": 1, "ttl_s": 3600, "assurance": "oidc_mfa"}
	weak := fixtures.vote("p", ["a"])
	not met(strict, {strict}, [weak])
	met(strict, {strict}, [object.union(weak, {"approver": {"assurance": "oidc_mfa"}})])
}

test_a_requirement_can_never_ask_for_less_than_proven if {
	loose := {"id": "x", "groups": ["a"], "quorum": 1, "ttl_s": 3600, "assurance": "asserted"}
	not met(loose, {loose}, [object.union(fixtures.vote("p", ["a"]), {"approver": {"assurance": "asserted"}})])
}

# ---- whose vote (A04, A09, A15) -----------------------------------------------------------

robot := {"id": "deployer", "kind": "service", "owner": "bob", "linked_ids": [], "via": {"actor_chain": []}}

test_a04_the_owner_of_a_service_account_is_the_one_who_asked if {
	r := fixtures.ask({"subject": robot, "approvals": [fixtures.bob]})
	r.effect == "pending"
	"self_approval" in fixtures.codes(r)
	fixtures.ask({"subject": robot, "approvals": [fixtures.vote("erin", owner)]}).effect == "allow"
}

test_a04_nobody_is_the_owner_of_a_human if fixtures.voted([object.union(fixtures.bob, {"approver": {"id": "x"}})]).effect == "allow"

test_a15_a_delegate_votes_with_the_givers_groups if {
	fixtures.voted([fixtures.proxy("frank", "bob", owner)]).effect == "allow"
	fixtures.codes(fixtures.voted([fixtures.proxy("frank", "carol", ["security"])])) == {"approval_needed", "vote_not_eligible"}
}

test_a15_a_vote_for_nobody_is_no_vote if fixtures.denied(fixtures.voted([fixtures.proxy("frank", "", owner)]), "bad_input")

test_a15_nobody_delegates_to_or_for_who_asks if {
	useless(fixtures.proxy("alice", "bob", owner), "self_approval")
	useless(fixtures.proxy("frank", "alice", owner), "self_approval")
	useless(fixtures.proxy("frank", "slack:T1:U1", owner), "self_approval")
	useless(fixtures.proxy("deploy-bot", "bob", owner), "self_approval")
	useless(fixtures.proxy("frank", "deploy-bot", owner), "self_approval")
}

test_a15_the_owner_of_a_service_account_delegates_nothing_to_it if {
	every given in [fixtures.proxy("frank", "bob", owner), fixtures.proxy("bob", "erin", owner)] {
		r := fixtures.ask({"subject": robot, "approvals": [given]})
		r.effect == "pending"
		fixtures.codes(r) == {"approval_needed", "self_approval"}
	}
}

test_a15_a_vote_for_somebody_gives_way_to_their_own if {
	two := {"id": "two", "groups": owner, "quorum": 2, "ttl_s": 3600}
	own := fixtures.vote("bob", owner)
	not met(two, {two}, [own, fixtures.proxy("frank", "bob", owner)])
	met(two, {two}, [own, fixtures.proxy("frank", "erin", owner)])
	useless(fixtures.proxy("bob", "bob", owner), "vote_doubled")
}

test_a15_two_delegates_of_one_person_fill_one_place if {
	two := {"id": "two", "groups": owner, "quorum": 2, "ttl_s": 3600}
	not met(two, {two}, [fixtures.proxy("frank", "bob", owner), fixtures.proxy("gina", "bob", owner)])
}

test_a15_one_voter_is_one_place_whoever_they_speak_for if {
	two := {"id": "two", "groups": owner, "quorum": 2, "ttl_s": 3600}
	not met(two, {two}, [fixtures.proxy("frank", "bob", owner), fixtures.proxy("frank", "erin", owner)])
	not met(two, {two}, [fixtures.vote("frank", owner), fixtures.proxy("frank", "erin", owner)])
	r := fixtures.voted([fixtures.proxy("frank", "bob", owner), fixtures.proxy("frank", "erin", owner)])
	"vote_doubled" in fixtures.codes(r)
}

test_a15_who_votes_for_another_is_not_voted_for if {
	two := {"id": "two", "groups": owner, "quorum": 2, "ttl_s": 3600}
	not met(two, {two}, [fixtures.proxy("bob", "erin", owner), fixtures.proxy("frank", "bob", owner)])
}

test_a03_a_delegate_fills_one_of_two_stages if {
	unmet([fixtures.proxy("bob", "erin", ["owners:api-service", "security"])]) != set()
	count(unmet([fixtures.proxy("frank", "erin", ["owners:api-service", "security"]), fixtures.bob])) == 0
	count(unmet([fixtures.proxy("frank", "erin", ["owners:api-service"]), fixtures.vote("frank", ["security"])])) > 0
}

# ---- how well known (A20) -------------------------------------------------------------------

migrating(given) := fixtures.ask({"action": {"name": "migrate", "effect": "destroy"}, "approvals": given})

test_a20_a_click_in_a_chat_leads_to_the_sign_in_page if {
	r := migrating([fixtures.bob, fixtures.carol])
	r.effect == "pending"
	count(r.unmet) == 2
	fixtures.codes(r) == {"approval_needed", "stepup_needed"}
	contains(fixtures.messages(r), "sign in again")
}

test_a20_who_signed_in_is_not_told_to if {
	fixtures.codes(migrating(fixtures.signed([fixtures.bob]))) == {"approval_needed"}
}

test_a20_a_vote_that_lacks_more_than_the_sign_in_is_not_sent_there if {
	not "stepup_needed" in fixtures.codes(migrating([fixtures.vote("dave", ["members"])]))
}

test_a20_an_api_token_never_votes if {
	token := object.union(fixtures.bob, {"approver": {"assurance": "asserted"}})
	fixtures.codes(migrating([token])) == {"approval_needed", "vote_not_eligible"}
	useless(token, "vote_not_eligible")
}

# ---- veto -------------------------------------------------------------------------------

test_one_no_is_enough if {
	r := fixtures.voted([fixtures.bob, fixtures.no(fixtures.vote("erin", owner))])
	fixtures.denied(r, "rejected")
	contains(fixtures.messages(r), "owners:api-service")
}

test_security_may_always_say_no if {
	r := fixtures.ask({"resource": {"env": "staging"}, "approvals": [fixtures.no(fixtures.carol)]})
	fixtures.denied(r, "rejected")
}

test_a_no_does_not_expire if {
	late := object.union(fixtures.no(fixtures.carol), {"expires_ns": 1})
	fixtures.denied(fixtures.voted([late]), "rejected")
}

test_people_who_are_not_asked_cannot_block if {
	fixtures.voted([fixtures.bob, fixtures.no(fixtures.vote("dave", ["members"]))]).effect == "allow"
}

test_a_no_must_be_real_too if {
	every change in [
		{"request_hash": "sha256:bbb"}, {"revoked": true},
		{"approver": {"verified": false}}, {"approver": {"kind": "bot"}},
	] {
		fixtures.voted([fixtures.bob, object.union(fixtures.no(fixtures.carol), change)]).effect == "allow"
	}
}

test_a_no_that_does_not_count_is_not_called_an_approval if {
	fixtures.codes(fixtures.voted([fixtures.no(fixtures.vote("dave", ["members"]))])) == {"approval_needed"}
}

test_a_no_fills_no_place if {
	stage := {"id": "x", "groups": ["a"], "quorum": 1, "ttl_s": 3600}
	not met(stage, {stage}, [fixtures.no(fixtures.vote("p", ["a"]))])
}
