# METADATA
# title: Payments
# description: >-
#   The payments team's own rules, asked only about targets that team:payments owns. They may allow more people in, ask for
#   more approvals, or refuse; they cannot undo a refusal.
package gateway.teams.payments

import data.gateway.break_glass
import data.gateway.members

# Card data needs a second pair of eyes from security, besides the owner's.
require contains {
	"id": "payments_pci",
	"groups": data.roles.security,
	"quorum": 1,
	"ttl_s": 3600,
	"distinct_from": {"groups": sort(input.resource.owners), "quorum": 1},
	"assurance": "verified",
} if {
	input.resource.labels.pci == "true"
	input.action.effect == "write"
	members.changes
	not members.open
	not break_glass.active
}

# Support may restart in an open environment, without being developers.
allow contains {"rule": "payments_support_restarts"} if {
	input.action.name == "restart"
	members.open
	"payments-support" in input.subject.groups
}
