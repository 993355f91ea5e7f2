# METADATA
# title: Web
# description: The web team's own rules, asked only about targets that team:web owns.
package gateway.teams.web

# The shop runs on a shared cluster: a typing mistake must not take it all.
deny contains {
	"code": "too_many_replicas",
	"argument": "replicas",
	"msg": "The web team's services scale to at most 20 replicas each. Choose fewer, or ask owners:web-shop to raise their limit.",
} if {
	input.action.name == "scale"
	not at_most(20)
}

# A small step needs no owner's look. It counts only when security listed `scale` in auto_approval of data.json.
auto_approve contains {"rule": "web_small_scale", "requirement": "owner"} if {
	input.action.name == "scale"
	at_most(5)
}

# A rule of its own, because `not input.x <= 20` would silently not fire if x were missing.
at_most(n) if {
	is_number(input.action.args.replicas)
	input.action.args.replicas <= n
}
