# What the tests of the starter pack share: one complete question, small changes to it, and the answer.
package gateway_test.fixtures

import data.gateway.decision

now := 1763989200000000000 # 2025-11-24T13:00:00Z, a Monday

minute := 60000000000

# Alice of payments deploys api-service to production; nobody has voted yet.
base := {
	"schema": "gateway.input/v1",
	"phase": "request",
	"tenant": "acme",
	"now": {
		"unix_ns": now,
		"local": {"Europe/London": {"date": "2025-11-24", "weekday": "mon", "minute_of_day": 780}},
	},
	"policy": {"revision": "git:abc", "bundle_age_s": 1},
	"subject": {
		"id": "alice",
		"kind": "human",
		"tenant": "acme",
		"verified": true,
		"groups": ["members", "developers", "team:payments"],
		"linked_ids": ["slack:T1:U1"],
		"owner": "",
		"auth": {"method": "chat", "assurance": "verified", "mfa_at_ns": 0, "scopes": []},
		"via": {"adapter": "slack", "actor_chain": []},
	},
	"action": {"name": "deploy", "effect": "write", "args": {"version": "1.4.2"}, "idempotent": true, "dry_run": false},
	"resource": {
		"service": "api-service",
		"env": "production",
		"tenant": "acme",
		"owners": ["owners:api-service"],
		"team": "team:payments",
		"labels": {},
		"exists": true,
	},
	"blast": {"targets": 1, "percent": null, "plan_digest": null, "deletes": null, "irreversible": null},
	"context": {
		"platform": "slack",
		"channel": "C1",
		"channel_kind": "public",
		"thread": "",
		"truncated": false,
		"source_ip": null,
	},
	"ticket": null,
	"request": {
		"id": "inv_1",
		"hash": "sha256:aaa",
		"created_ns": now,
		"reason": "",
		"break_glass": {"requested": false, "reason": "", "incident": ""},
	},
	"approvals": [],
	"freezes": [],
	"recent": {
		"by_subject_1h": 0,
		"same_command_24h": 0,
		"running_on_resource": 0,
		"pending_by_subject": 0,
		"rejected_s": null,
		"open_reviews": 0,
	},
}

roles := {"member": ["members"], "developer": ["developers"], "security": ["security"]}

settings := {
	"open_environments": ["staging"],
	"limits": {"targets": {"staging": 50, "production": 10}, "pending_per_person": 10, "cool_down_s": 300},
	"assurance": {"destroy": "oidc"},
	"tickets": {"required": [], "approved_states": ["approved"]},
	"windows": [],
	"auto_approval": {"commands": []},
}

# The answer to `base` with some fields changed (objects are merged, everything else replaced).
ask(change) := answer(object.union(base, change))

answer(question) := under({}, question)

# The same where data.json says something else.
ask_under(change, asked) := under(change, object.union(base, asked))

under(change, question) := result if {
	said := {name: object.get(change, name, usual) | some name, usual in settings}
	result := decision.result with input as question
		with data.roles as roles
		with data.open_environments as said.open_environments
		with data.limits as said.limits
		with data.assurance as said.assurance
		with data.tickets as said.tickets
		with data.windows as said.windows
		with data.auto_approval as said.auto_approval
}

# The answer once these votes are in; a bot acts for who asks.
voted(votes) := ask({"approvals": votes, "subject": {"via": {"actor_chain": ["deploy-bot"]}}})

vote(person, groups) := {
	"id": sprintf("vote_%s", [person]),
	"decision": "approve",
	"approver": {
		"id": person,
		"kind": "human",
		"verified": true,
		"groups": groups,
		"assurance": "verified",
		"on_behalf_of": null,
	},
	"platform": "slack",
	"at_ns": now - minute,
	"expires_ns": now + minute,
	"request_hash": "sha256:aaa",
	"policy_revision": "git:abc",
	"requirement_digest": "sha256:ccc",
	"revoked": false,
}

bob := vote("bob", ["members", "team:payments", "owners:api-service"])

carol := vote("carol", ["members", "security"])

# The same votes, given after a sign-in of their own.
signed(votes) := [object.union(given, {"approver": {"assurance": "oidc"}}) | some given in votes]

# Given by somebody to whom `giver` delegated, so with the giver's groups.
proxy(person, giver, groups) := object.union(vote(person, groups), {"approver": {"on_behalf_of": giver}})

no(given) := object.union(given, {"decision": "reject"})

codes(result) := {reason.code | some reason in result.reasons}

denied(result, code) if {
	result.effect == "deny"
	code in codes(result)
}

# The argument that failed, by code.
arguments(result) := {reason.code: reason.argument | some reason in result.reasons; reason.argument}

messages(result) := concat(" ", [reason.msg | some reason in result.reasons])
