"""What somebody holds once they signed in: a browser's session or a terminal's token; how it begins and how it ends.

Keeps no secret: the store has the SHA-256 of a token, and a form's CSRF value is made from the token itself.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass

from gateway.domain.audit_chain import Entry
from gateway.domain.directory import Asker
from gateway.domain.ids import new_id
from gateway.domain.invocation import NS
from gateway.domain.people import Credential, CredentialKind, Revoke, Write
from gateway.domain.ports import Change
from gateway.flows.gate import Gate
from gateway.flows.identify import OPAQUE
from gateway.flows.in_person import refuse_others
from gateway.flows.step_up import secret_digest
from opsgate.contracts.base import Assurance

IDLE_NS = 8 * 3600 * NS
CONSOLE_NS = 24 * 3600 * NS
TERMINAL_NS = 12 * 3600 * NS
MAX_NAME = 80


@dataclass(frozen=True)
class Signed:
    """Who signed in and how well that is known; `mfa_at_ns`: when they last used a second factor, 0: not."""

    person: str
    assurance: Assurance
    mfa_at_ns: int


@dataclass(frozen=True)
class Made:
    """`token` is told once; `credential` is what is kept of it."""

    token: str
    credential: Credential


def new_credential(signed: Signed, kind: CredentialKind, name: str, now_ns: int, credential_id: str = "") -> Made:
    """A session of a browser (kind `console`) or a terminal's token (`cli`)."""
    token = OPAQUE + secrets.token_urlsafe(32)
    console = kind == "console"
    credential = Credential(
        id=credential_id or new_id("ses"),
        kind=kind,
        digest=secret_digest(token),
        account=signed.person,
        owner=signed.person,
        name=plain(name) or kind,
        scopes=(),
        assurance=signed.assurance,
        mfa_at_ns=signed.mfa_at_ns,
        created_ns=now_ns,
        used_ns=now_ns,
        idle_ns=IDLE_NS if console else 0,
        expires_ns=now_ns + (CONSOLE_NS if console else TERMINAL_NS),
    )
    return Made(token, credential)


def plain(text: str) -> str:
    """What a stranger calls themselves, fit to be shown: printable, and not long."""
    return "".join(c for c in text if c.isprintable()).strip()[:MAX_NAME]


def derived(secret: str, purpose: str) -> str:
    """43 characters that only who holds `secret` can know, another for each purpose."""
    made = hmac.digest(secret.encode(), purpose.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(made).rstrip(b"=").decode()


def csrf_of(token: str) -> str:
    """What a page of this session must send along with everything it changes."""
    return derived(token, "csrf")


def is_csrf(token: str, given: str) -> bool:
    return hmac.compare_digest(csrf_of(token).encode(), given.encode())


async def held(gate: Gate, token: str) -> Credential | None:
    """What is kept of a token that is good now."""
    found = await gate.store.credential(secret_digest(token)) if token.startswith(OPAQUE) else None
    return found if found is not None and found.good(gate.clock.now_ns()) else None


async def sign_out(gate: Gate, token: str) -> None:
    """Ends what this token is. Nothing happens when it is none, or is over already."""
    found = await held(gate, token)
    if found is not None:
        now_ns = gate.clock.now_ns()
        entry = Entry("sign_out", "", found.account, now_ns, {"credential": found.id, "kind": found.kind})
        await gate.store.apply(Change((entry,), people=(Revoke(now_ns, id=found.id),)))


async def sign_out_everywhere(gate: Gate, who: Asker) -> None:
    """Ends every browser session and every terminal's sign-in of this person. API tokens stay: they are listed."""
    refuse_others(who, "end sign-ins")
    now_ns = gate.clock.now_ns()
    ended: Write = Revoke(now_ns, account=who.id, kinds=("console", "cli"))
    await gate.store.apply(Change((Entry("sign_out.everywhere", "", who.id, now_ns, {}),), people=(ended,)))
