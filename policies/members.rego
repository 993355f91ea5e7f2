# METADATA
# title: Who may ask for what
# description: >-
#   The starter rules: members read; developers change what their own team owns; whatever is not an open environment needs an
#   owner's yes; destroying needs an owner and security; security freezes and unfreezes.
package gateway.members

import data.gateway.break_glass
import data.gateway.words

# A role is a list of groups in data.json; who is in a group, only the identity source knows.
has(role) if {
	some group in data.roles[role]
	group in input.subject.groups
}

# The commands that stop and release all changes.
switch if input.action.name in {"freeze", "unfreeze"}

# What the rules about changes are for: freezes, windows, limits, tickets and approvals stop neither the switches nor a page.
changes if {
	input.action.effect != "read"
	not switch
	not break_glass.paging
}

# What this command asks of a person, in words.
needs := "the role security" if {
	switch
} else := "the role member" if {
	input.action.effect == "read"
} else := "the role developer in the owning team" if {
	input.resource.team == ""
} else := sprintf("the role developer in %s", [input.resource.team])

# ---- allow --------------------------------------------------------------------------

allow contains {"rule": "members_read"} if {
	input.action.effect == "read"
	has("member")
}

allow contains {"rule": "developers_change_their_own"} if {
	changes
	developer_here
}

developer_here if {
	has("developer")
	input.resource.team in input.subject.groups
}

# At once, without anybody's approval: stopping must be quick, and so must releasing.
allow contains {"rule": "security_switches"} if {
	switch
	has("security")
}

# ---- require ------------------------------------------------------------------------

# Only environments listed as open skip the approval; one that is new or misspelt does not.
default open := false

open if input.resource.env in data.open_environments

require contains object.union(owner, automatic) if {
	input.action.effect == "write"
	changes
	not open
	not break_glass.active
}

owner := {"id": "owner", "groups": sort(input.resource.owners), "quorum": 1, "ttl_s": 3600, "assurance": "verified"}

# Security lists the commands for which a rule may stand in for the owner; without the list it is always a person.
default automatic := {}

automatic := {"auto": true} if input.action.name in data.auto_approval.commands

require contains {
	"id": "destroy_owner",
	"groups": sort(input.resource.owners),
	"quorum": 1,
	"ttl_s": 1800,
	"distinct_from": {"groups": data.roles.security, "quorum": 1},
	"assurance": proof,
} if {
	destroying
}

require contains {
	"id": "destroy_security",
	"groups": data.roles.security,
	"quorum": 1,
	"ttl_s": 1800,
	"distinct_from": {"groups": sort(input.resource.owners), "quorum": 1},
	"assurance": proof,
} if {
	destroying
}

destroying if {
	input.action.effect == "destroy"
	not break_glass.active
}

# How well who agrees to a destroy must be known: where it matters, signed in just for this and not by a click in a chat.
# Without a good word in data.json it is the strongest.
default proof := "oidc_mfa"

proof := "verified" if {
	open
} else := data.assurance.destroy if {
	data.assurance.destroy in {"verified", "oidc", "oidc_mfa"}
}

# ---- deny and explain ---------------------------------------------------------------

# Outsiders stay outside, even where a team's rule forgot to ask who it is.
deny contains {"code": "not_a_member", "msg": msg} if {
	not has("member")
	not break_glass.paging
	msg := sprintf("You have no role here: `%s` needs %s. Ask %s.", [input.action.name, needs, words.ask])
}

# Used only when no rule allowed it: what the person lacks.
explain contains {"code": "role_missing", "msg": msg} if {
	changes
	not has("developer")
	msg := sprintf("`%s` on %s needs %s, which you do not have. Ask %s.", [input.action.name, words.target, needs, words.ask])
}

explain contains {"code": "not_your_team", "msg": msg} if {
	changes
	has("developer")
	not developer_here
	msg := sprintf(
		"%s belongs to %s, and `%s` needs %s. You are a developer, but not of that team: ask %s.",
		[words.target, input.resource.team, input.action.name, needs, words.ask],
	)
}
