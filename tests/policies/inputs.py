"""Complete inputs, built with the contract itself, that the policy tests start from.

Refuses anything PolicyInput would refuse: a test must not ask what the gateway can never ask.
"""

from __future__ import annotations

from typing import Any

from opsgate.contracts.base import JsonObject
from opsgate.contracts.policy import PolicyInput

NOW = 1763989200000000000  # 2025-11-24T13:00:00Z, a Monday
HASH = "sha256:" + "a" * 64
MINUTE = 60 * 1_000_000_000

OWNERS = ("members", "team:payments", "owners:api-service")
SECURITY = ("members", "security")

HARDENED: JsonObject = {
    "roles": {"member": ["members"], "developer": ["developers"], "security": ["security"]},
    "open_environments": ["staging"],
    "limits": {"targets": {"staging": 50, "production": 10}, "pending_per_person": 3, "cool_down_s": 600},
    "assurance": {"destroy": "oidc_mfa"},
    "tickets": {"required": ["production"], "approved_states": ["approved"]},
    "windows": [
        {
            "name": "office hours",
            "kind": "allow",
            "environments": ["production"],
            "services": [],
            "zone": "Europe/London",
            "weekdays": ["mon"],
            "from": "09:00",
            "to": "17:00",
        },
        {
            "name": "end of month",
            "kind": "deny",
            "environments": [],
            "services": ["ledger"],
            "zone": "Europe/London",
            "weekdays": [],
            "from": "22:00",
            "to": "14:00",
            "dates": ["2025-11-23"],
        },
    ],
    "auto_approval": {"commands": ["scale"]},
}
"""A data.json in which everything that the starter pack leaves empty says something."""


def vote(
    person: str,
    groups: tuple[str, ...],
    *,
    decision: str = "approve",
    assurance: str = "verified",
    on_behalf_of: str | None = None,
) -> JsonObject:
    """One person's Vote on the command of `question`, given a minute ago and good for an hour."""
    return {
        "id": f"vote_{person}",
        "decision": decision,
        "approver": {
            "id": person,
            "kind": "human",
            "verified": True,
            "groups": list(groups),
            "assurance": assurance,
            "on_behalf_of": on_behalf_of,
        },
        "platform": "slack",
        "at_ns": NOW - MINUTE,
        "expires_ns": NOW + 59 * MINUTE,
        "request_hash": HASH,
        "policy_revision": "git:abc",
        "requirement_digest": "sha256:" + "c" * 64,
        "revoked": False,
    }


def question(**sections: Any) -> JsonObject:
    """Alice of payments deploys api-service to production; each keyword merges over (objects) or replaces a section."""
    base: JsonObject = {
        "schema": "gateway.input/v1",
        "phase": "request",
        "tenant": "acme",
        "now": {
            "unix_ns": NOW,
            "local": {"Europe/London": {"date": "2025-11-24", "weekday": "mon", "minute_of_day": 780}},
        },
        "policy": {"revision": "git:abc", "bundle_age_s": 12},
        "subject": {
            "id": "alice",
            "kind": "human",
            "tenant": "acme",
            "verified": True,
            "groups": ["members", "developers", "team:payments"],
            "linked_ids": ["slack:T1:U1"],
            "owner": "",
            "auth": {"method": "chat", "assurance": "verified", "mfa_at_ns": 0, "scopes": []},
            "via": {"adapter": "slack", "actor_chain": []},
        },
        "action": {
            "name": "deploy",
            "effect": "write",
            "args": {"version": "1.4.2"},
            "idempotent": True,
            "dry_run": False,
        },
        "resource": {
            "service": "api-service",
            "env": "production",
            "tenant": "acme",
            "owners": ["owners:api-service"],
            "team": "team:payments",
            "labels": {"tier": "1"},
            "exists": True,
        },
        "blast": {"targets": 1, "percent": 100.0, "plan_digest": "sha256:p", "deletes": 0, "irreversible": False},
        "context": {
            "platform": "slack",
            "channel": "C1",
            "channel_kind": "public",
            "thread": "",
            "truncated": False,
            "source_ip": "127.0.0.1",
        },
        "ticket": {
            "system": "jira",
            "id": "OPS-12",
            "state": "approved",
            "verified": True,
            "verified_at_ns": NOW - MINUTE,
        },
        "request": {
            "id": "inv_1",
            "hash": HASH,
            "created_ns": NOW - 2 * MINUTE,
            "reason": "release 1.4.2",
            "break_glass": {"requested": False, "reason": "", "incident": ""},
        },
        "approvals": [],
        "freezes": [],
        "recent": {
            "by_subject_1h": 1,
            "same_command_24h": 0,
            "running_on_resource": 0,
            "pending_by_subject": 0,
            "rejected_s": None,
            "open_reviews": 0,
        },
    }
    for name, change in sections.items():
        base[name] = {**base[name], **change} if isinstance(change, dict) else change
    return PolicyInput.model_validate(base).model_dump(mode="json", by_alias=True)
