# METADATA
# title: Break glass
# description: >-
#   The way past freezes, windows, tickets, limits and approvals in an emergency. Only for the person on call, for their own
#   command, with an incident and a real reason; it is never silent. On call is a group, `oncall:SERVICE`, that the directory keeps.
package gateway.break_glass

default active := false

active if {
	ready
	input.recent.open_reviews == 0
}

ready if {
	input.request.break_glass.requested
	input.subject.kind == "human"
	in_person
	on_call in input.subject.groups
	count(trim_space(input.request.break_glass.reason)) >= 20
	regex.match(`^INC-[0-9]+$`, input.request.break_glass.incident)
}

# Neither a token that lies about somewhere, nor whoever acts for the person on call.
in_person if {
	input.subject.auth.method != "api_token"
	count(input.subject.via.actor_chain) == 0
}

on_call := sprintf("oncall:%s", [input.resource.service])

deny contains {"code": "break_glass_refused", "msg": msg} if {
	input.request.break_glass.requested
	not ready
	msg := sprintf(
		"Breaking the glass needs four things: being in %s, asking for it in person, an incident like INC-42, and a reason of at least 20 characters. Page whoever is on call.",
		[on_call],
	)
}

deny contains {"code": "review_open", "msg": msg} if {
	input.request.break_glass.requested
	input.recent.open_reviews > 0
	msg := sprintf(
		"You broke the glass before, and that has not been reviewed yet (open reviews: %d). Ask %s to close the oldest first; until then somebody else in %s can do this.",
		[input.recent.open_reviews, concat(" or ", data.roles.security), on_call],
	)
}

allow contains {"rule": "break_glass"} if active

# Nobody destroys anything quite alone, not even in an emergency: the first owner or security person to answer is enough.
require contains {
	"id": "break_glass_destroy",
	"groups": sort({g | some g in input.resource.owners} | {g | some g in data.roles.security}),
	"quorum": 1,
	"ttl_s": 1800,
	"assurance": "verified",
} if {
	active
	input.action.effect == "destroy"
}

obligations contains {"id": "post_review", "within_s": 86400, "groups": data.roles.security} if active

obligations contains {"id": "page", "groups": data.roles.security} if active

obligations contains {"id": "notify", "groups": sort(input.resource.owners)} if active

# An emergency that can wait is none: what has not started by then is refused.
obligations contains {"id": "time_limit", "start_within_s": 900} if active

# ---- who pages --------------------------------------------------------------------------

# The gateway's own principal. Its name alone proves nothing; the guard refuses whoever else claims it.
gateway if {
	input.subject.id == "opsgate"
	input.subject.kind == "service"
	input.subject.auth.method == "gateway"
}

# A page must get through: no freeze, no window and no approval stops it.
paging if {
	gateway
	input.action.name == "page"
	input.action.effect != "destroy"
}

allow contains {"rule": "gateway_pages"} if paging
