"""API tokens: for oneself, or for a service account one answers for. A token is told once and kept only as a hash.

Refuses to make one for anybody who is not the human themselves, so that no token can make another.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from gateway.domain.audit_chain import Entry
from gateway.domain.directory import Asker
from gateway.domain.errors import Refused, not_found
from gateway.domain.ids import new_id
from gateway.domain.invocation import NS, when
from gateway.domain.people import Credential, Revoke
from gateway.domain.ports import Change, Once
from gateway.flows.gate import Gate
from gateway.flows.identify import OPAQUE
from gateway.flows.in_person import refuse_others
from gateway.flows.sessions import plain
from gateway.flows.step_up import secret_digest
from opsgate.contracts import people as contract
from opsgate.contracts.base import Assurance
from opsgate.contracts.problems import Code

MOST = 50
"""Tokens that one person may answer for at a time."""
LISTED = 200
SCOPES: tuple[contract.Scope, ...] = ("read", "write", "destroy")
DAY_NS = 86_400 * NS
OnceOf = Callable[[contract.MadeToken], Once | None]


async def make(gate: Gate, wish: contract.NewToken, who: Asker, once: OnceOf) -> contract.MadeToken:
    """The token, this one time; `once` never gets it. Raises Refused (403, 404, 409, 422)."""
    refuse_others(who, "make tokens")
    account, name = wish.account or who.id, plain(wish.name)
    if account not in (who.id, *_owned(gate, who)):
        raise not_found(f"service account `{account}` that you own")
    if not name:
        raise Refused(Code.BAD_INPUT, 422, "Give the token a name that says what it is for.")
    now_ns = gate.clock.now_ns()
    held = [c for c in await gate.store.credentials((who.id,)) if c.kind == "api" and c.good(now_ns)]
    if sum(c.owner == who.id for c in held) >= MOST:
        words = f"You have {MOST} tokens already. Revoke those that are not used any more, then make this one."
        raise Refused(Code.NOT_POSSIBLE_NOW, 409, words)
    token = OPAQUE + secrets.token_urlsafe(32)
    made = Credential(
        id=new_id("tok"),
        kind="api",
        digest=secret_digest(token),
        account=account,
        owner=who.id,
        name=name,
        scopes=tuple(s for s in SCOPES if s in wish.scopes),
        assurance=Assurance.VERIFIED,
        mfa_at_ns=0,
        created_ns=now_ns,
        used_ns=0,
        idle_ns=0,
        expires_ns=now_ns + wish.expires_in_days * DAY_NS,
    )
    view = shown(made)
    body = {"token": made.id, "account": account, "name": name, "scopes": list(made.scopes)}
    entry = Entry("token.made", "", who.id, now_ns, body | {"until": view.expires_at.isoformat()})
    kept = once(contract.MadeToken(token="", credential=view))
    await gate.store.apply(Change((entry,), people=(made,), once=kept))
    return contract.MadeToken(token=token, credential=view)


async def tokens(gate: Gate, who: Asker) -> list[contract.Credential]:
    """One's own and those of the accounts one owns, newest first, ended ones too."""
    found = [c for c in await gate.store.credentials((who.id, *_owned(gate, who))) if c.kind == "api"]
    return [shown(c) for c in reversed(found)][:LISTED]


async def revoke(gate: Gate, token_id: str, who: Asker) -> None:
    """It is good for nothing from now on. Raises Refused (403, 404)."""
    refuse_others(who, "revoke tokens")
    mine = {c.id: c for c in await gate.store.credentials((who.id, *_owned(gate, who))) if c.kind == "api"}
    found = mine.get(token_id)
    if found is None:
        raise not_found(f"token `{token_id[:40]}`")
    if not found.revoked_ns:
        now_ns = gate.clock.now_ns()
        body = {"token": found.id, "account": found.account, "name": found.name}
        entry = Entry("token.revoked", "", who.id, now_ns, body)
        await gate.store.apply(Change((entry,), people=(Revoke(now_ns, id=found.id),)))


def shown(held: Credential) -> contract.Credential:
    """A credential for its holder: without its hash."""
    return contract.Credential(
        id=held.id,
        kind=held.kind,
        name=held.name,
        account=held.account,
        owner=held.owner,
        scopes=tuple(s for s in SCOPES if s in held.scopes),
        created_at=when(held.created_ns),
        last_used_at=when(held.used_ns) if held.used_ns else None,
        expires_at=when(held.expires_ns),
        revoked_at=when(held.revoked_ns) if held.revoked_ns else None,
    )


def _owned(gate: Gate, who: Asker) -> tuple[str, ...]:
    """The active service accounts this person answers for."""
    return tuple(p.id for p in gate.directory.people if p.owner == who.id and p.active)
