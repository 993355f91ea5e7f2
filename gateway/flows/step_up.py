"""A link to sign in again and approve: for one person, one Invocation, one hash, once, within five minutes.

Makes links only; what follows them casts the vote by `gateway.flows.vote`, as anybody does.
"""

from __future__ import annotations

import hashlib
import json
import secrets

from gateway.domain.audit_chain import Entry
from gateway.domain.directory import Asker
from gateway.domain.invocation import NS, Invocation
from gateway.domain.people import Code
from gateway.domain.ports import Change
from gateway.flows.gate import Gate

LIFE_NS = 5 * 60 * NS


def secret_digest(secret: str) -> str:
    """What is kept of a secret: its SHA-256 in hex. The secrets are random, so no salt is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


async def make(gate: Gate, inv: Invocation, who: Asker, reason: str, giver: str) -> str:
    """The link. Its Code's data: `invocation`, `hash`, `reason`, `giver`, `platform`. Raises Unavailable."""
    secret, now_ns = secrets.token_urlsafe(32), gate.clock.now_ns()
    about = {"invocation": inv.id, "hash": inv.binding_hash, "reason": reason, "giver": giver, "platform": who.platform}
    code = Code(secret_digest(secret), "step_up", who.id, json.dumps(about), now_ns + LIFE_NS)
    entry: Entry = gate.entry("step_up.offered", inv, who.id, now_ns, platform=who.platform)
    await gate.store.apply(Change((entry,), people=(code,)))
    return f"{gate.public_url}/step-up/{secret}"
