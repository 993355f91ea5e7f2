# METADATA
# title: Web
# description: The web team's own rules, asked only about targets that team:web owns.
package gateway.teams.web

# The shop runs on a shared cluster: a typing mistake must not take it all.
deny contains {
	"code": "too_many_replicas",
	"msg": "The web team's services scale to at most 20 replicas each. Choose fewer, or ask owners:web-shop to raise their limit.",
} if {
	input.action.name == "scale"
	not few_replicas
}

# A rule of its own, because `not input.x <= 20` would silently not fire if x were missing.
few_replicas if {
	is_number(input.action.args.replicas)
	input.action.args.replicas <= 20
}
