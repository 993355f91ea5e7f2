"""Who is asking. A person's own token, or an adapter's token together with the platform's signed request.

An adapter can carry a message; it can never invent a person. Identity is never read from any other header or field.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from gateway.domain.directory import AdapterEntry, Asker, Directory
from gateway.domain.errors import Refused
from gateway.domain.ports import EvidenceCheck, Proven, Tokens
from opsgate.contracts.base import Assurance
from opsgate.contracts.invocations import Evidence
from opsgate.contracts.problems import Code


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


async def caller(token: str, tokens: Tokens, directory: Directory) -> Caller:
    """Raises Refused (401) when the token proves nothing."""
    if not token:
        raise Refused(Code.UNAUTHENTICATED, 401, "Send `Authorization: Bearer <token>`.")
    adapter = find_adapter(token, directory)
    if adapter:
        return Caller(None, adapter)
    claims = await tokens.verify(token)
    person = directory.person(claims.subject)
    if person is None:
        raise Refused(
            Code.UNAUTHENTICATED,
            401,
            f"You are signed in as `{claims.subject[:64]}`, whom Opsgate does not know. Ask the operator to add you.",
        )
    return Caller(Asker(principal=person, assurance=claims.assurance, method=claims.method, platform="rest"), None)


def asker(
    who: Caller, evidence: Evidence | None, check: EvidenceCheck, directory: Directory, now_ns: int
) -> tuple[Asker, Proven | None]:
    """The person behind a call, with what the evidence proves of it. Raises Refused (403)."""
    if who.asker is not None:
        return who.asker, None
    adapter = who.adapter
    if evidence is None or adapter is None:
        raise Refused(Code.UNPROVEN_ACTOR, 403, "An adapter must send the platform's signed request as `evidence`.")
    if evidence.platform != adapter.platform:
        raise Refused(Code.UNPROVEN_ACTOR, 403, f"The adapter {adapter.id} may not speak for {evidence.platform}.")
    proven = check.verify(evidence, now_ns)
    if proven.workspace not in adapter.workspaces:
        raise Refused(Code.UNPROVEN_ACTOR, 403, f"The adapter {adapter.id} may not speak for that workspace.")
    if adapter.app_ids and proven.app_id not in adapter.app_ids:
        raise Refused(Code.UNPROVEN_ACTOR, 403, "That button was not made by this Opsgate.")
    person = directory.by_identity(proven.identity)
    if person is None:
        raise Refused(
            Code.UNLINKED_ACCOUNT,
            403,
            f"Opsgate does not know this chat account ({proven.identity}). Ask the operator to add it to you in the "
            "directory; then try again.",
        )
    found = Asker(
        principal=person, assurance=Assurance.VERIFIED, method="chat", platform=evidence.platform, adapter=adapter.id
    )
    return found, proven
