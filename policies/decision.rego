# METADATA
# title: The decision
# description: >-
#   The one document the gateway asks for, `gateway.decision/v1`. A deny from anywhere beats everything; then a missing
#   approval; then an allow; and when no rule speaks, the answer is no. Nothing here reads a clock or the network.
# entrypoint: true
package gateway.decision

import data.gateway.break_glass
import data.gateway.guard
import data.gateway.members
import data.gateway.shape
import data.gateway.teams
import data.gateway.votes
import data.gateway.windows
import data.gateway.words

# ---- collect: everybody may add, nobody may take away -----------------------------

# A team's rules are asked only about targets that this team owns: a lookup by key, not a walk over all teams.
team := trim_prefix(input.resource.team, "team:")

deny contains d if some d in guard.deny

deny contains d if some d in windows.deny

deny contains d if some d in members.deny

deny contains d if some d in break_glass.deny

deny contains d if some d in votes.rejections(require)

deny contains d if some d in teams[team].deny

# Nobody is tired by what nobody is asked.
deny contains d if {
	count(waiting) > 0
	some d in guard.tiring
}

allow contains a if some a in members.allow

allow contains a if some a in break_glass.allow

allow contains a if some a in teams[team].allow

require contains r if some r in members.require

require contains r if some r in break_glass.require

require contains r if some r in teams[team].require

obligations contains o if some o in break_glass.obligations

obligations contains o if some o in teams[team].obligations

# A rule stands in for people only where the requirement itself says that it may, and the rule names that requirement.
auto contains {"rule": a.rule, "requirement": r.id} if {
	some a in teams[team].auto_approve
	some r in require
	r.auto == true
	a.requirement == r.id
}

# ---- decide: deny > pending > allow > no rule = deny --------------------------------

# What only people can agree to.
personal contains r if {
	some r in require
	not automatic(r)
}

automatic(r) if {
	r.auto == true
	r.id in {a.requirement | some a in auto}
}

waiting contains r if {
	some r in personal
	not votes.met(r, personal)
}

default effect := "deny"

# A broken question is answered at once; no other rule is asked to make sense of it.
effect := "deny" if {
	not shape.whole
} else := "deny" if {
	count(deny) > 0
} else := "pending" if {
	count(allow) > 0
	count(waiting) > 0
} else := "allow" if {
	count(allow) > 0
}

# ---- explain: every answer says why, and what to do next ----------------------------

reasons contains d if some d in deny

# Nobody said no, but nobody said yes either.
reasons contains d if {
	effect == "deny"
	count(deny) == 0
	some d in silence
}

reasons contains {"code": "approval_needed", "msg": words.needed(r)} if {
	effect == "pending"
	some r in waiting
}

# Why a vote that was given did not help.
reasons contains d if {
	effect == "pending"
	some d in votes.ignored(require)
}

reasons contains {"code": "allowed", "msg": msg} if {
	effect == "allow"
	rules := concat(", ", sort([a.rule | some a in allow]))
	msg := sprintf("`%s` on %s is allowed by the rule %s%s.", [input.action.name, words.target, rules, approved])
}

default approved := ""

approved := sprintf(", and approved by %s", [concat(", ", sort({sprintf("policy:%s", [a.rule]) | some a in auto}))]) if {
	count(auto) > 0
}

silence := members.explain if {
	count(members.explain) > 0
} else := {{"code": "no_rule", "msg": msg}} if {
	msg := sprintf(
		"No rule allows `%s` on %s, and what no rule allows is refused. Ask %s whether there should be one.",
		[input.action.name, words.target, words.ask],
	)
}

# ---- answer -------------------------------------------------------------------------

default request_hash := ""

request_hash := input.request.hash if is_string(input.request.hash)

result := {
	"schema": "gateway.decision/v1",
	"effect": "deny",
	"request_hash": request_hash,
	"reasons": [d | some d in shape.deny],
	"grants": [],
	"require": [],
	"auto": [],
	"unmet": [],
	"obligations": [],
} if {
	not shape.whole
} else := {
	"schema": "gateway.decision/v1",
	"effect": effect,
	"request_hash": request_hash,
	"reasons": [object.union(d, {"msg": substring(d.msg, 0, 500)}) | some d in reasons],
	"grants": answered({{"rule": a.rule} | some a in allow}),
	"require": answered(require),
	"auto": answered(auto),
	"unmet": answered({r.id | some r in waiting}),
	"obligations": answered(obligations),
}

# What would be asked of others is told only while it can still help.
answered(xs) := [x | some x in xs; effect != "deny"]
