# METADATA
# title: Guard rails
# description: >-
#   What is refused whatever a team allows. Owned by security: protect this file with CODEOWNERS.
package gateway.guard

import data.gateway.break_glass
import data.gateway.members
import data.gateway.shape
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

# The gateway asks for pages in its own name; whoever shows only one of its marks is pretending.
deny contains {
	"code": "reserved_identity",
	"msg": "Only the gateway itself may act as `opsgate`. Ask as yourself.",
} if {
	posing
	not break_glass.gateway
}

posing if input.subject.id == "opsgate"

posing if input.subject.auth.method == "gateway"

# No scopes: a token may do whatever its person may.
deny contains {"code": "scope_missing", "msg": msg} if {
	count(input.subject.auth.scopes) > 0
	not input.action.effect in input.subject.auth.scopes
	msg := sprintf(
		"This token is limited to %s, and `%s` is of effect %s. Make a token with the scope %s, or ask as yourself.",
		[concat(", ", input.subject.auth.scopes), input.action.name, input.action.effect, input.action.effect],
	)
}

# ---- on what ------------------------------------------------------------------------

deny contains object.union({"code": "unknown_target", "msg": msg}, wrong) if {
	not input.resource.exists
	msg := sprintf("There is no %s that the gateway knows. Check the name and the environment with `status`.", [words.target])
}

# Which argument is the wrong one, as far as can be told: a service that has owners is known.
wrong := {"argument": "service"} if {
	input.resource.service != ""
	not owned
} else := {"argument": "environment"} if {
	input.resource.env != ""
} else := {}

# What nobody owns, nobody can agree to change.
deny contains {"code": "no_owner", "msg": msg} if {
	members.changes
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
	members.changes
	not break_glass.active
	some freeze in input.freezes
	msg := sprintf(
		"Changes to %s are frozen by %s %s: %s. Wait, or ask security to `unfreeze`; in an emergency whoever is on call may break the glass.",
		[words.target, freeze.by, until(freeze), substring(freeze.reason, 0, 200)],
	)
}

until(freeze) := sprintf("until %s UTC", [time.format([freeze.until_ns, "UTC", "2006-01-02 15:04"])]) if {
	freeze.until_ns > 0
} else := "until lifted"

# No team may hand out the switches: a freeze that its subject can lift is none.
deny contains {"code": "security_only", "msg": msg} if {
	members.switch
	not members.has("security")
	msg := sprintf("`%s` needs the role security. Ask security.", [input.action.name])
}

# ---- how much -----------------------------------------------------------------------

deny contains object.union({"code": "blast_radius", "msg": msg}, sized) if {
	members.changes
	not break_glass.active
	input.blast.targets > targets
	msg := sprintf(
		"This would touch %d targets, and the limit for %s is %d at once. Do it in smaller steps, or ask security to raise the limit.",
		[input.blast.targets, input.resource.env, targets],
	)
}

# The argument that says how much.
sized := {"argument": "service"} if {
	input.resource.service != ""
} else := {"argument": "environment"} if {
	input.resource.env != ""
} else := {}

# A limit that data.json lacks, or that is broken there, is the strictest.
default targets := 1

targets := data.limits.targets[input.resource.env] if is_number(data.limits.targets[input.resource.env])

deny contains object.union({"code": "blast_unknown", "msg": msg}, sized) if {
	input.action.effect == "destroy"
	not is_number(input.blast.targets)
	msg := sprintf("Nobody can tell how much `%s` would destroy, so it is refused. Name a target whose size is known.", [input.action.name])
}

# ---- how often ----------------------------------------------------------------------

# What would tire the people who approve. The decision hears it only when somebody would have to be asked.
tiring contains {"code": "too_many_pending", "msg": msg} if {
	prompting
	input.recent.pending_by_subject >= pending
	msg := sprintf(
		"%d of your commands already wait for approval, and %d is the limit. Wait for an answer, or `cancel` one you no longer need.",
		[input.recent.pending_by_subject, pending],
	)
}

tiring contains {"code": "cool_down", "msg": msg} if {
	prompting
	is_number(input.recent.rejected_s)
	input.recent.rejected_s < cool_down
	msg := sprintf(
		"The same was rejected a moment ago. Talk to whoever rejected it; you can ask again in %s.",
		[words.duration(cool_down - input.recent.rejected_s)],
	)
}

# What was asked before must not be stopped by what was asked since.
prompting if {
	input.phase == "request"
	not break_glass.active
}

default pending := 1

pending := data.limits.pending_per_person if is_number(data.limits.pending_per_person)

default cool_down := 86400

cool_down := data.limits.cool_down_s if is_number(data.limits.cool_down_s)

# ---- with which ticket --------------------------------------------------------------

# A ticket stands in the record, so a change must not name one that nobody can find.
deny contains {"code": "ticket_unverified", "msg": msg} if {
	tracked
	not confirmed
	msg := sprintf("The tracker does not confirm %s: it has no such ticket, or does not answer. Check the id, then ask again.", [input.ticket.id])
}

confirmed if {
	input.ticket.verified
	input.ticket.verified_at_ns > 0
}

deny contains {"code": "ticket_not_approved", "msg": msg} if {
	tickets
	tracked
	confirmed
	not input.ticket.state in data.tickets.approved_states
	msg := sprintf(
		"%s is %s, and a change needs a ticket that is %s. Have it approved in the tracker, then ask again.",
		[input.ticket.id, input.ticket.state, words.either(data.tickets.approved_states)],
	)
}

tracked if {
	input.ticket != null
	members.changes
	not break_glass.active
}

deny contains {"code": "ticket_needed", "msg": msg} if {
	tickets
	is_null(input.ticket)
	members.changes
	not break_glass.active
	ticketed
	msg := sprintf("Changes to %s need a change ticket: name it with `--ticket`, such as `--ticket OPS-12`.", [words.target])
}

ticketed if input.resource.env in data.tickets.required

# A change without an environment may touch any of them.
ticketed if {
	input.resource.env == ""
	count(data.tickets.required) > 0
}

deny contains {
	"code": "bad_data",
	"msg": "The policy's own data does not say which tickets are needed, so nothing changes. Ask security to repair tickets in data.json.",
} if {
	members.changes
	not break_glass.active
	not tickets
}

tickets if {
	shape.texts(data.tickets.required)
	shape.texts(data.tickets.approved_states)
}
