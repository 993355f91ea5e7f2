"""Who is asking. A person's own token, or an adapter's token together with the platform's signed request.

An adapter can carry a message; it can never invent a person. Identity is never read from any other header or field.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import get_args

from gateway.domain.directory import AdapterEntry, Asker, Directory
from gateway.domain.errors import Refused
from gateway.domain.invocation import NS
from gateway.domain.people import CredentialKind, Used
from gateway.domain.ports import Change, EvidenceCheck, Proven, Tokens
from gateway.flows.gate import Gate
from gateway.flows.step_up import secret_digest
from opsgate.contracts.base import Assurance
from opsgate.contracts.invocations import Evidence
from opsgate.contracts.problems import Code

OPAQUE = "opt_"
"""How the gateway's own tokens begin: sign-ins and API tokens."""
USED_EVERY_NS = 60 * NS
"""How exactly it is kept when a token was last used: one write a minute."""


@dataclass(frozen=True)
class Caller:
    """Who holds the connection: a person (`asker`), or an adapter that must present evidence for each call."""

    asker: Asker | None
    adapter: AdapterEntry | None

    @property
    def id(self) -> str:
        return self.asker.id if self.asker else f"adapter:{self.adapter.id}" if self.adapter else ""


def find_adapter(token: str, directory: Directory) -> AdapterEntry | None:
    """The adapter whose token this is; compares every entry in constant time."""
    digest = hashlib.sha256(token.encode()).hexdigest()
    found = None
    for entry in directory.adapters:
        if hmac.compare_digest(entry.token_sha256, digest):
            found = entry
    return found


async def caller(gate: Gate, token: str, tokens: Tokens) -> Caller:
    """Raises Refused (401) when the token proves nothing."""
    if not token:
        raise Refused(Code.UNAUTHENTICATED, 401, "Send `Authorization: Bearer <token>`.")
    if token.startswith(OPAQUE):
        return Caller(await _by_credential(gate, token), None)
    adapter = find_adapter(token, gate.directory)
    if adapter:
        return Caller(None, adapter)
    claims = await tokens.verify(token)
    now_ns = gate.clock.now_ns()
    person = gate.directory.by_subject(claims.subject, now_ns)
    if person is None:
        raise Refused(
            Code.UNAUTHENTICATED,
            401,
            f"You are signed in as `{claims.subject[:64]}`, whom Opsgate does not know, or not any more. "
            "Ask the operator to add you.",
        )
    found = Asker(
        principal=person,
        assurance=claims.assurance,
        method=claims.method,
        platform="rest",
        actors=_chain(gate, claims.actors),
        mfa_at_ns=claims.mfa_at_ns,
    )
    return Caller(found, None)


def _chain(gate: Gate, actors: tuple[str, ...]) -> tuple[str, ...]:
    """Who acts for the person, as persons of ours, and who answers for those: none of them approves what they ask."""
    found: dict[str, None] = {}
    for subject in actors:
        actor = gate.directory.by_subject(subject, gate.clock.now_ns())
        found[actor.id if actor else subject] = None
        if actor and actor.owner:
            found[actor.owner] = None
    return tuple(found)


async def in_browser(gate: Gate, token: str) -> Asker:
    """Whose browser session this is. A terminal's token in a cookie is none: it could renew itself there for ever.

    Raises Refused (401).
    """
    return await _by_credential(gate, token, ("console",))


async def _by_credential(gate: Gate, token: str, kinds: tuple[CredentialKind, ...] = get_args(CredentialKind)) -> Asker:
    """A sign-in or an API token of ours. Raises Refused (401)."""
    now_ns = gate.clock.now_ns()
    held = await gate.store.credential(secret_digest(token))
    if held is None or not held.good(now_ns) or held.kind not in kinds:
        raise Refused(Code.UNAUTHENTICATED, 401, "This sign-in has ended or was revoked. Sign in again.")
    person = gate.directory.person(held.account, now_ns)
    owner = gate.directory.person(held.owner, now_ns)
    if person is None or owner is None:
        raise Refused(Code.UNAUTHENTICATED, 401, f"`{held.account}` is not active any more. Ask the operator.")
    if held.owner not in (person.id, person.owner):
        # Whoever made it still knows it, and is not one with the account any more: they could approve what it asks.
        words = (
            f"This token was made by {held.owner}, who does not own `{person.id}` any more. Its owner makes a new one."
        )
        raise Refused(Code.UNAUTHENTICATED, 401, words)
    if now_ns - held.used_ns > USED_EVERY_NS:
        await gate.store.apply(Change((), people=(Used(held.id, now_ns),)))
    return Asker(
        principal=person,
        assurance=held.assurance,
        method="api_token" if held.kind == "api" else "oidc",
        platform="rest",
        scopes=held.scopes if held.kind == "api" else (),
        mfa_at_ns=held.mfa_at_ns,
    )


def asker(gate: Gate, who: Caller, evidence: Evidence | None, check: EvidenceCheck) -> tuple[Asker, Proven | None]:
    """The person behind a call, with what the evidence proves of it. Raises Refused (403), Unlinked."""
    if who.asker is not None:
        return who.asker, None
    adapter = who.adapter
    if evidence is None or adapter is None:
        raise Refused(Code.UNPROVEN_ACTOR, 403, "An adapter must send the platform's signed request as `evidence`.")
    if evidence.platform != adapter.platform:
        raise Refused(Code.UNPROVEN_ACTOR, 403, f"The adapter {adapter.id} may not speak for {evidence.platform}.")
    now_ns = gate.clock.now_ns()
    proven = check.verify(evidence, now_ns)
    if proven.workspace not in adapter.workspaces:
        raise Refused(Code.UNPROVEN_ACTOR, 403, f"The adapter {adapter.id} may not speak for that workspace.")
    if adapter.app_ids and proven.app_id not in adapter.app_ids:
        raise Refused(Code.UNPROVEN_ACTOR, 403, "That button was not made by this Opsgate.")
    person = gate.directory.by_identity(proven.identity, now_ns)
    if person is None:
        raise Unlinked(proven, adapter.id)
    found = Asker(
        principal=person, assurance=Assurance.VERIFIED, method="chat", platform=evidence.platform, adapter=adapter.id
    )
    return found, proven


class Unlinked(Refused):
    """The platform proves a chat account that is nobody's yet. Carries what was proven, so that it can be linked."""

    def __init__(self, proven: Proven, adapter: str) -> None:
        words = (
            f"Opsgate does not know this chat account ({proven.identity}). Ask the operator to add it to you in the "
            "directory; then try again."
        )
        super().__init__(Code.UNLINKED_ACCOUNT, 403, words)
        self.proven = proven
        self.adapter = adapter
