# METADATA
# title: Which votes count, and when they are enough
# description: >-
#   A vote is evidence about one exact command, given by one person for a limited time. Nobody approves their own command,
#   and nobody fills two places: not with two accounts, not with somebody else's delegation. Owned by security.
package gateway.votes

import data.gateway.words

# ---- which votes count ----------------------------------------------------------------

# Everything that is the person who asked: the person, every linked account, everybody acting for or through them, and
# whoever a service account belongs to.
asker contains input.subject.id

asker contains id if some id in input.subject.linked_ids

asker contains id if some id in input.subject.via.actor_chain

asker contains input.subject.owner if input.subject.owner != ""

own(vote) if vote.approver.id in asker

own(vote) if vote.approver.on_behalf_of in asker

# Given for this exact command, and not taken back. A destroy also needs the very same policy revision.
bound(vote) if {
	vote.request_hash == input.request.hash
	not vote.revoked
	same_policy(vote)
}

same_policy(_) if input.action.effect != "destroy"

same_policy(vote) if vote.policy_revision == input.policy.revision

fresh(vote) if {
	vote.at_ns <= input.now.unix_ns
	input.now.unix_ns < vote.expires_ns
}

# A person whose account is linked.
person(vote) if {
	vote.approver.kind == "human"
	vote.approver.verified
}

# ---- for whom ----------------------------------------------------------------------------

# Whoever delegated gives the groups, and their place is filled; the gateway checked the delegation and its time.
delegated(vote) if is_string(vote.approver.on_behalf_of)

place(vote) := vote.approver.on_behalf_of if {
	delegated(vote)
} else := vote.approver.id

voters contains vote.approver.id if some vote in input.approvals

# A delegated vote gives way: to any vote of the giver in person, and to any other vote of whoever gave it.
surplus(vote) if {
	delegated(vote)
	vote.approver.on_behalf_of in voters
}

surplus(vote) if {
	delegated(vote)
	places := {place(other) | some other in input.approvals; other.approver.id == vote.approver.id}
	count(places) > 1
}

# ---- all of it ---------------------------------------------------------------------------

counting contains vote if {
	some vote in input.approvals
	vote.decision == "approve"
	person(vote)
	bound(vote)
	fresh(vote)
	not own(vote)
	not surplus(vote)
}

# ---- when they are enough ---------------------------------------------------------------

strength := {"asserted": 0, "verified": 1, "oidc": 2, "oidc_mfa": 3}

# A voter the platform did not prove ("asserted") never counts; a requirement may ask for more.
weakest(requirement) := max([strength.verified, strength[requirement.assurance]])

weakest(requirement) := strength.verified if not requirement.assurance

fits(vote, requirement) if {
	asked(vote, requirement)
	strength[vote.approver.assurance] >= weakest(requirement)
}

# From a group that is asked, and not too long ago.
asked(vote, requirement) if {
	shares_group(vote.approver.groups, requirement.groups)
	input.now.unix_ns < vote.at_ns + (requirement.ttl_s * 1000000000)
}

shares_group(mine, wanted) if {
	some group in mine
	group in wanted
}

# The distinct people who may fill a requirement: by person, never by click.
eligible(requirement) := {place(vote) |
	some vote in counting
	fits(vote, requirement)
}

met(requirement, all) if {
	not staged(requirement, all)
	count(eligible(requirement)) >= requirement.quorum
}

# Stages are filled in order, each with people whom the stages before it can spare. All are met exactly when every place
# can be filled with a person of its own.
met(requirement, all) if {
	stages := [r | some r in all; staged(r, all)]
	some i
	stages[i] == requirement
	before := fillable(array.slice(stages, 0, i))
	fillable(array.slice(stages, 0, i + 1)) - before == requirement.quorum
}

# Requirements that ask for other people than another one's, and those others: nobody fills two places among them.
staged(requirement, all) if {
	some other in all
	other.id != requirement.id
	linked(requirement, other)
}

linked(a, b) if a.distinct_from.groups == b.groups

linked(a, b) if b.distinct_from.groups == a.groups

# How many places of these stages can be filled at once when nobody fills two: the smallest, over every choice of stages,
# of the people who fit the chosen ones plus the places of all others (the theorem of König and Ore on matchings).
fillable(stages) := min({places |
	some choice in numbers.range(0, bits.lsh(1, count(stages)) - 1)
	people := union({eligible(s) | some i, s in stages; bits.and(choice, bits.lsh(1, i)) != 0})
	others := sum([s.quorum | some i, s in stages; bits.and(choice, bits.lsh(1, i)) == 0])
	places := count(people) + others
})

# ---- one no is enough --------------------------------------------------------------------

# Who may say yes may say no; owners and security always may. A no does not expire; it can be taken back.
rejections(all) := {{"code": "rejected", "msg": msg} |
	some vote in input.approvals
	vote.decision == "reject"
	vote.request_hash == input.request.hash
	not vote.revoked
	vote.approver.kind == "human"
	vote.approver.verified
	some group in vote.approver.groups
	group in veto(all)
	msg := sprintf(
		"Somebody of %s rejected `%s` on %s, and one no is enough. Talk to them, then ask again.",
		[group, input.action.name, words.target],
	)
}

veto(all) := union({
	{group | some group in input.resource.owners},
	{group | some group in data.roles.security},
	{group | some requirement in all; some group in requirement.groups},
})

# ---- why a vote did not help ---------------------------------------------------------------

ignored(all) := {{"code": code, "msg": why[code]} |
	some vote in input.approvals
	vote.decision == "approve"
	some code in flaws(vote, all)
}

flaws(vote, all) := {"self_approval"} if {
	own(vote)
} else := union({
	{"vote_not_personal" | not person(vote)},
	{"vote_void" | not bound(vote)},
	{"vote_expired" | not fresh(vote)},
	{"vote_doubled" | surplus(vote)},
	{"vote_not_eligible" | not useful(vote, all)},
	{"stepup_needed" | weak(vote, all)},
})

useful(vote, all) if {
	vote.approver.assurance != "asserted"
	some requirement in all
	asked(vote, requirement)
}

# Only the sign-in is missing. An API token ("asserted") cannot sign in again: it never votes.
weak(vote, all) if {
	vote.approver.assurance != "asserted"
	some requirement in all
	asked(vote, requirement)
	not fits(vote, requirement)
}

why := {
	"self_approval": "You cannot approve what you asked for yourself, from any of your accounts: a second person has to look at it.",
	"vote_not_personal": "An approval did not count: it came from a bot from or from an account that is not linked to a person. Approve as yourself, from your linked account.",
	"vote_doubled": "An approval on behalf of somebody else did not count: they voted themselves, or whoever gave it voted otherwise too. Each person fills one place: ask somebody else.",
	"vote_void": "An approval did not count: it was taken back, or given for another command or under an older policy. Look at the card again, then approve.",
	"vote_expired": "An approval did not count: it is outside the time in which it is good. Approve again.",
	"vote_not_eligible": "An approval did not count: whoever gave it is in none of the groups that are asked, did it too long ago, or with an API token. Ask somebody of those groups.",
	"stepup_needed": "An approval did not count: it was a click, and this one needs a fresh sign-in. Press Approve again, sign in again on the page that opens, and approve there.",
}
