"""Somebody signs in at the identity provider. Refuses to know anybody by name or e-mail: only by the provider's `sub`.

A sign-in belongs to the browser that began it: its cookie's secret makes nonce and PKCE verifier, so none is stored.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from gateway.domain.audit_chain import Entry
from gateway.domain.errors import CodeUsed, GateError, Refused
from gateway.domain.identity import Asking, Identified, IdentityProvider, Returned
from gateway.domain.invocation import NS
from gateway.domain.people import Code, Known, Revoke, Unknown, UseCode, Write
from gateway.domain.ports import Change
from gateway.flows.gate import Gate
from gateway.flows.sessions import Made, Signed, derived, held, new_credential
from gateway.flows.step_up import secret_digest
from opsgate.contracts.base import Assurance, PrincipalKind
from opsgate.contracts.problems import Code as Problem

LIFE_NS = 10 * 60 * NS
STALE_NS = 12 * 3600 * NS
"""How long the provider's word about somebody's groups counts."""
OVER = "This sign-in was begun in another browser, was finished already, or took too long. Start again."


@dataclass(frozen=True)
class Began:
    """`url`: where to send the browser. `browser`: the secret its cookie must hold until it comes back."""

    url: str
    browser: str


@dataclass(frozen=True)
class Proof:
    """Somebody came back from the provider, and is who they say. Nothing is written yet: `writes` must be, once.

    `step_up`: the digest of the step-up this was for; empty for a plain sign-in, which goes on to `then`.
    """

    signed: Signed
    known: Known
    issuer: str
    then: str
    step_up: str
    writes: tuple[Write, ...] = field(repr=False)


def own_path(wanted: str) -> str:
    """A path of this gateway to go to afterwards; anything that could lead elsewhere becomes the chat room."""
    fits = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and len(wanted) <= 2000
    if not fits or "\\" in wanted or not (wanted.isascii() and wanted.isprintable()) or " " in wanted:
        return "/"
    parts = urlsplit(wanted)
    return "/" if parts.scheme or parts.netloc else wanted


async def begin(gate: Gate, provider: IdentityProvider, browser: str, then: str, step_up: str = "") -> Began:
    """Sends somebody to the provider. `browser`: what its cookie holds already, if it does. Raises Unavailable."""
    now_ns, state = gate.clock.now_ns(), secrets.token_urlsafe(32)
    browser = browser if len(browser) == 43 and browser.isascii() else secrets.token_urlsafe(32)
    about = {"browser": secret_digest(browser), "then": own_path(then), "step_up": step_up, "since": str(now_ns)}
    url = await provider.url(_asking(state, browser, about))
    code = Code(secret_digest(state), "sign_in", "", json.dumps(about), now_ns + LIFE_NS)
    await gate.store.apply(Change((), people=(code,)))
    return Began(url, browser)


def _asking(state: str, browser: str, about: dict[str, Any]) -> Asking:
    since_ns = int(about["since"]) if about["step_up"] else 0
    return Asking(state, derived(browser, f"nonce {state}"), derived(browser, f"verifier {state}"), since_ns)


async def prove(gate: Gate, provider: IdentityProvider, state: str, browser: str, returned: Returned) -> Proof:
    """Who came back. Raises Refused (it is over, forged, or not to be believed) and Unavailable."""
    code = await gate.store.code(secret_digest(state))
    if code is None or code.kind != "sign_in" or code.used_ns or code.expires_ns <= gate.clock.now_ns():
        raise Refused(Problem.UNAUTHENTICATED, 401, OVER)
    about = json.loads(code.data)
    if not hmac.compare_digest(about["browser"], secret_digest(browser)):
        # Not burnt: whoever only has the address cannot end another's sign-in.
        raise Refused(Problem.UNAUTHENTICATED, 401, OVER)
    try:
        found = await provider.identify(_asking(state, browser, about), returned)
        known = await recognise(gate, found)
    except Refused as refusal:
        await _burn(gate, code, refusal)
        raise
    assurance = Assurance.OIDC_MFA if found.second_factor else Assurance.OIDC
    signed = Signed(known.person, assurance, known.seen_ns if found.second_factor else 0)
    writes: tuple[Write, ...] = (UseCode(code.digest, known.seen_ns), *await _instead_of(gate, known), known)
    return Proof(signed, known, found.issuer, about["then"], about["step_up"], writes)


async def _burn(gate: Gate, code: Code, refusal: GateError) -> None:
    now_ns = gate.clock.now_ns()
    entry = Entry("sign_in.refused", "", "", now_ns, {"why": refusal.detail})
    try:
        await gate.store.apply(Change((entry,), people=(UseCode(code.digest, now_ns),)))
    except CodeUsed:
        raise Refused(Problem.UNAUTHENTICATED, 401, OVER) from None


async def recognise(gate: Gate, found: Identified) -> Known:
    """The person of a subject: one of the directory, one who was here before, or a new one. Raises Refused."""
    now_ns, before = gate.clock.now_ns(), await gate.store.people()
    listed = next((p for p in gate.directory.people if (p.subject or p.id) == found.subject), None)
    earlier = before.known.get(found.subject)
    if listed is not None:
        if not listed.active or listed.kind is not PrincipalKind.HUMAN:
            words = f"`{listed.id}` may not sign in: it is deactivated or no human's. Ask the operator."
            raise Refused(Problem.FORBIDDEN, 403, words)
        person = listed.id
    elif earlier is not None and not any(p.id == earlier.person for p in gate.directory.people):
        person = earlier.person
    else:
        whole = hashlib.sha256(f"{found.issuer}|{found.subject}".encode()).hexdigest()
        person = f"u-{whole[:10]}"
        others = before.by_person.get(person)
        if any(p.id == person for p in gate.directory.people) or (others and others.subject != found.subject):
            raise Refused(Problem.FORBIDDEN, 403, f"The name {person} is taken. Ask the operator to list you.")
    return Known(found.subject, person, found.name, found.groups, now_ns, now_ns + STALE_NS)


async def _instead_of(gate: Gate, known: Known) -> tuple[Unknown, ...]:
    """A person of the directory who has another subject now than when they signed in last. Others were refused."""
    old = (await gate.store.people()).by_person.get(known.person)
    return (Unknown(old.subject),) if old is not None and old.subject != known.subject else ()


async def open_session(gate: Gate, proof: Proof, name: str, ip: str, before: str) -> Made:
    """A session for the browser, always a new one; the one it had (`before`, a token) ends. Raises Refused."""
    now_ns = gate.clock.now_ns()
    made = new_credential(proof.signed, "console", name, now_ns)
    old = await held(gate, before)
    ended = (Revoke(now_ns, id=old.id),) if old is not None and old.kind == "console" else ()
    body = {"credential": made.credential.id, "assurance": proof.signed.assurance.value, "issuer": proof.issuer}
    entry = Entry("sign_in.console", "", proof.signed.person, now_ns, {**body, "ip": ip})
    await write_once(gate, Change((entry,), people=(*proof.writes, *ended, made.credential)))
    return made


async def write_once(gate: Gate, change: Change) -> None:
    """Writes what uses up a code, and lets decisions see the person at once. Raises Refused when it was used."""
    try:
        await gate.store.apply(change)
    except CodeUsed:
        raise Refused(Problem.UNAUTHENTICATED, 401, OVER) from None
    await gate.folk.refresh()
