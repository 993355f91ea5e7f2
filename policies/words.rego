# METADATA
# title: Words for people
# description: Sentences that the rules share. Groups are named, members of a group never.
package gateway.words

default target := "this target"

target := sprintf("%s in %s", [input.resource.service, input.resource.env]) if {
	input.resource.service != ""
	input.resource.env != ""
} else := input.resource.service if {
	input.resource.service != ""
} else := input.resource.env if {
	input.resource.env != ""
}

# Whom to ask about this target.
ask := sprintf("the owners of %s (%s)", [input.resource.service, either(input.resource.owners)]) if {
	count(input.resource.owners) > 0
} else := "security"

either(groups) := concat(" or ", groups)

# Seconds as people say them, rounded up.
duration(seconds) := "1 minute" if {
	seconds <= 60
} else := sprintf("%d minutes", [ceil(seconds / 60)])

people(1) := "1 person"

people(n) := sprintf("%d people", [n]) if n != 1

# What a requirement still waits for.
needed(requirement) := sprintf(
	"`%s` on %s needs the approval of %s from %s%s%s; nobody may approve their own command. An approval is good for %d minutes.",
	[
		input.action.name, target, people(requirement.quorum), either(requirement.groups),
		apart(requirement), signed(requirement), floor(requirement.ttl_s / 60),
	],
)

signed(requirement) := ", signed in again for it" if {
	requirement.assurance in {"oidc", "oidc_mfa"}
} else := ""

apart(requirement) := sprintf(", not the same person as for %s", [either(requirement.distinct_from.groups)]) if {
	requirement.distinct_from
} else := ""
