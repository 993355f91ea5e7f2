# METADATA
# title: Guard rails
# description: >-
#   What is refused whatever a team allows. Owned by security: protect this file with CODEOWNERS.
package gateway.guard

import data.gateway.break_glass
import data.gateway.members
import data.gateway.words

# ---- who asks -----------------------------------------------------------------------

deny contains {
	"code": "unverified_identity",
	"msg": "The gateway cannot prove who you are from this account. Link it to your person first, then ask again.",
} if {
	not proven
}

proven if {
	input.subject.verified
	input.subject.auth.assurance != "asserted"
}

deny contains {
	"code": "bot",
	"msg": "Chat bots cannot run commands. Automation needs a service identity of its own: ask security.",
} if {
	input.subject.kind == "bot"
}

deny contains {
	"code": "tenant_mismatch",
	"msg": "You and the target are not in the same organisation. Ask from the workspace the target belongs to.",
} if {
	count({input.tenant, input.subject.tenant, input.resource.tenant}) != 1
}

# ---- on what ------------------------------------------------------------------------

deny contains {"code": "unknown_target", "msg": msg} if {
	not input.resource.exists
	msg := sprintf("There is no %s that the gateway knows. Check the name and the environment with `status`.", [words.target])
}

# What nobody owns, nobody can agree to change.
deny contains {"code": "no_owner", "msg": msg} if {
	input.action.effect != "read"
	not members.switch
	not owned
	msg := sprintf(
		"%s has no owning team, so nobody can agree to change it. Ask security to enter its owners in the directory.",
		[words.target],
	)
}

owned if {
	input.resource.team != ""
	count(input.resource.owners) > 0
}

# ---- when ---------------------------------------------------------------------------

# Reads always pass. The switches themselves pass, or nobody could lift a freeze; who may use them is said below.
deny contains {"code": "frozen", "msg": msg} if {
	input.action.effect != "read"
	not members.switch
	not break_glass.active
	some freeze in input.freezes
	msg := sprintf(
		"Changes to %s are frozen: %s. Wait until it is lifted, or ask security to `unfreeze`; in an emergency whoever is on call may break the glass.",
		[words.target, substring(freeze.reason, 0, 200)],
	)
}

# No team may hand out the switches: a freeze that its subject can lift is none.
deny contains {"code": "security_only", "msg": msg} if {
	members.switch
	not members.has("security")
	msg := sprintf("`%s` needs the role security. Ask security.", [input.action.name])
}

# ---- how much -----------------------------------------------------------------------

deny contains {"code": "blast_radius", "msg": msg} if {
	input.action.effect != "read"
	not members.switch
	not break_glass.active
	input.blast.targets > limit
	msg := sprintf(
		"This would touch %d targets, and the limit for %s is %d at once. Do it in smaller steps, or ask security to raise the limit.",
		[input.blast.targets, input.resource.env, limit],
	)
}

# Without a limit in data.json, or with a broken one, the limit is the smallest.
default limit := 1

limit := n if {
	n := data.limits.targets[input.resource.env]
	is_number(n)
}

deny contains {"code": "blast_unknown", "msg": msg} if {
	input.action.effect == "destroy"
	not is_number(input.blast.targets)
	msg := sprintf("Nobody can tell how much `%s` would destroy, so it is refused. Name a target whose size is known.", [input.action.name])
}
