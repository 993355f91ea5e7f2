# METADATA
# title: Is the question whole?
# description: >-
#   Every field of `gateway.input/v1` must be there with its right type, or the answer is no. This is what lets the other
#   rules read a field without asking first: in Rego a missing field makes a deny rule silently not fire.
package gateway.shape

deny contains {"code": "bad_input", "msg": msg} if {
	count(broken) > 0
	msg := sprintf(
		"The gateway's question was incomplete or malformed (%s), so the answer is no. This is not your mistake: tell the people who run the gateway.",
		[concat(", ", broken)],
	)
}

deny contains {
	"code": "bad_data",
	"msg": "The policy's own data lacks a role, so nothing can be decided. Ask security to repair roles in data.json.",
} if {
	not roles
}

deny contains {
	"code": "truncated",
	"msg": "The command was cut off on its way here, so nobody can know what was meant. Send it again, shorter.",
} if {
	input.context.truncated == true
}

whole if {
	head
	subject
	action
	resource
	blast
	context
	ticket
	asked
	approvals
	freezes
	recent
	roles
	input.context.truncated == false
}

broken contains "head" if not head

broken contains "subject" if not subject

broken contains "action" if not action

broken contains "resource" if not resource

broken contains "blast" if not blast

broken contains "context" if not context

broken contains "ticket" if not ticket

broken contains "request" if not asked

broken contains "approvals" if not approvals

broken contains "freezes" if not freezes

broken contains "recent" if not recent

# ---- one rule a section; each line is true only for a field that is there and right ---

head if {
	input.schema == "gateway.input/v1"
	input.phase in {"request", "approve", "execute"}
	is_string(input.tenant)
	input.tenant != ""
	input.now.unix_ns > 0
	is_number(input.now.unix_ns)
	is_object(input.now.local)
	every zone in input.now.local { local_time(zone) }
	is_string(input.policy.revision)
	type_name(input.policy.bundle_age_s) in {"number", "null"}
}

local_time(zone) if {
	is_string(zone.date)
	day(zone.date)
	zone.weekday in {"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
	is_number(zone.minute_of_day)
}

subject if {
	is_string(input.subject.id)
	input.subject.id != ""
	input.subject.kind in kinds
	is_string(input.subject.tenant)
	input.subject.tenant != ""
	is_boolean(input.subject.verified)
	texts(input.subject.groups)
	texts(input.subject.linked_ids)
	is_string(input.subject.owner)
	is_string(input.subject.auth.method)
	input.subject.auth.assurance in assurances
	is_number(input.subject.auth.mfa_at_ns)
	texts(input.subject.auth.scopes)
	is_string(input.subject.via.adapter)
	texts(input.subject.via.actor_chain)
}

action if {
	is_string(input.action.name)
	input.action.name != ""
	input.action.effect in {"read", "write", "destroy"}
	is_object(input.action.args)
	is_boolean(input.action.idempotent)
	is_boolean(input.action.dry_run)
}

resource if {
	is_string(input.resource.service)
	is_string(input.resource.env)
	is_string(input.resource.tenant)
	input.resource.tenant != ""
	texts(input.resource.owners)
	is_string(input.resource.team)
	is_object(input.resource.labels)
	every label in input.resource.labels { is_string(label) }
	is_boolean(input.resource.exists)
}

blast if {
	type_name(input.blast.targets) in {"number", "null"}
	type_name(input.blast.percent) in {"number", "null"}
	type_name(input.blast.plan_digest) in {"string", "null"}
	type_name(input.blast.deletes) in {"number", "null"}
	type_name(input.blast.irreversible) in {"boolean", "null"}
}

context if {
	is_string(input.context.platform)
	is_string(input.context.channel)
	is_string(input.context.channel_kind)
	is_string(input.context.thread)
	is_boolean(input.context.truncated)
	type_name(input.context.source_ip) in {"string", "null"}
}

ticket if is_null(input.ticket)

ticket if {
	is_string(input.ticket.system)
	is_string(input.ticket.id)
	is_string(input.ticket.state)
	is_boolean(input.ticket.verified)
	is_number(input.ticket.verified_at_ns)
}

asked if {
	is_string(input.request.id)
	input.request.id != ""
	is_string(input.request.hash)
	input.request.hash != ""
	is_number(input.request.created_ns)
	is_string(input.request.reason)
	is_boolean(input.request.break_glass.requested)
	is_string(input.request.break_glass.reason)
	is_string(input.request.break_glass.incident)
}

approvals if {
	is_array(input.approvals)
	every vote in input.approvals { approval(vote) }
}

approval(vote) if {
	is_string(vote.id)
	vote.id != ""
	vote.decision in {"approve", "reject"}
	is_string(vote.approver.id)
	vote.approver.id != ""
	vote.approver.kind in kinds
	is_boolean(vote.approver.verified)
	texts(vote.approver.groups)
	vote.approver.assurance in assurances
	type_name(vote.approver.on_behalf_of) in {"string", "null"}
	vote.approver.on_behalf_of != ""
	is_string(vote.platform)
	is_number(vote.at_ns)
	is_number(vote.expires_ns)
	is_string(vote.request_hash)
	is_string(vote.policy_revision)
	is_string(vote.requirement_digest)
	is_boolean(vote.revoked)
}

freezes if {
	is_array(input.freezes)
	every freeze in input.freezes {
		is_string(freeze.scope)
		is_string(freeze.reason)
		is_string(freeze.by)
		is_number(freeze.from_ns)
		is_number(freeze.until_ns)
	}
}

recent if {
	is_number(input.recent.by_subject_1h)
	is_number(input.recent.same_command_24h)
	is_number(input.recent.running_on_resource)
	is_number(input.recent.pending_by_subject)
	type_name(input.recent.rejected_s) in {"number", "null"}
	is_number(input.recent.open_reviews)
}

# Roles are lists of groups. Without one of them a requirement would quietly ask nobody.
roles if {
	texts(data.roles.member)
	texts(data.roles.developer)
	texts(data.roles.security)
	min([count(data.roles.member), count(data.roles.developer), count(data.roles.security)]) > 0
}

# ---- types ----------------------------------------------------------------------------

kinds := {"human", "service", "bot"}

assurances := {"asserted", "verified", "oidc", "oidc_mfa"}

# A calendar day such as 2025-11-24.
day(text) if regex.match(`^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$`, text)

texts(xs) if {
	is_array(xs)
	{x | some x in xs; not is_string(x)} == set()
}
