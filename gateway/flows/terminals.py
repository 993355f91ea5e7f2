"""A terminal gets a token of its own from somebody signed in: back to its own port (RFC 8252), or by a code they type
(RFC 8628). Refuses to give one without that person's click, without PKCE, and to any address but this machine's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from gateway.domain.audit_chain import Entry
from gateway.domain.directory import Asker
from gateway.domain.errors import CodeUsed, Conflict, Refused
from gateway.domain.invocation import NS
from gateway.domain.people import Code, Revoke, UseCode
from gateway.domain.ports import Change
from gateway.flows.gate import Gate
from gateway.flows.sessions import Made, Signed, new_credential, plain
from gateway.flows.step_up import secret_digest
from opsgate.contracts.base import Assurance
from opsgate.contracts.problems import Code as Problem

CLIENT = "opsgate-cli"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
GRANT_NS = 60 * NS
DEVICE_S, INTERVAL_S = 600, 5
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""No vowels, so that no words come about; 8 of these 20 are 34 bits, for ten minutes."""
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


class TerminalError(Exception):
    """An error of RFC 6749 or RFC 8628: `error` is their word, `words` say what to do."""

    def __init__(self, error: str, words: str) -> None:
        super().__init__(words)
        self.error = error
        self.words = words


@dataclass(frozen=True)
class Wish:
    """A terminal on this person's machine asks for a token. `name`: what it calls its machine."""

    redirect_uri: str
    challenge: str
    state: str
    name: str

    def back(self, **answer: str) -> str:
        """Its own address with an answer."""
        return f"{self.redirect_uri}?{urlencode({**answer, 'state': self.state})}"


def wish(asked: dict[str, str]) -> Wish:
    """Reads an authorization request. Raises Refused: what is not right is never sent on to an address in it."""
    if asked.get("client_id") != CLIENT or asked.get("response_type") != "code":
        raise Refused(
            Problem.BAD_INPUT, 422, f"Only `opsgate login` asks here: client_id={CLIENT}, response_type=code."
        )
    if not is_own_machine(asked.get("redirect_uri", "")):
        words = "A terminal may only be answered on its own machine: redirect_uri=http://127.0.0.1:PORT/callback."
        raise Refused(Problem.BAD_INPUT, 422, words)
    if asked.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(asked.get("code_challenge", "")):
        raise Refused(Problem.BAD_INPUT, 422, "Send a code_challenge with code_challenge_method=S256 (RFC 7636).")
    state = asked.get("state", "")
    if not 8 <= len(state) <= 200 or not state.isascii():
        raise Refused(Problem.BAD_INPUT, 422, "Send a `state` of 8 to 200 characters.")
    return Wish(asked["redirect_uri"], asked["code_challenge"], state, plain(asked.get("name", "")))


def is_own_machine(address: str) -> bool:
    """`http://127.0.0.1:PORT/callback` or `http://[::1]:PORT/callback`, to the letter."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return False
    return address in (f"http://127.0.0.1:{port}/callback", f"http://[::1]:{port}/callback") and bool(port)


async def grant(gate: Gate, who: Asker, asked: Wish) -> str:
    """A code, good once within a minute and only with the verifier of `asked`. Raises Refused."""
    code, now_ns = secrets.token_urlsafe(32), gate.clock.now_ns()
    about = _signed(who) | {"challenge": asked.challenge, "redirect_uri": asked.redirect_uri, "name": asked.name}
    row = Code(secret_digest(code), "grant", who.id, json.dumps(about), now_ns + GRANT_NS)
    await gate.store.apply(Change((), people=(row,)))
    return code


def _signed(who: Asker) -> dict[str, str]:
    """Raises Refused: a token or a chat cannot make a new sign-in of itself, only a person at a browser can."""
    if who.method != "oidc":
        raise Refused(Problem.FORBIDDEN, 403, "Sign in at the identity provider first.")
    return {"assurance": who.assurance.value, "mfa_at_ns": str(who.mfa_at_ns)}


async def redeem(gate: Gate, code: str, verifier: str, redirect_uri: str) -> Made:
    """The terminal's token for its code. Raises TerminalError."""
    row = await gate.store.code(secret_digest(code))
    wrong = TerminalError("invalid_grant", "This code is not good, or not any more. Run `opsgate login` again.")
    if row is None or row.kind != "grant" or not _VERIFIER.fullmatch(verifier):
        raise wrong
    about = {"challenge": "", "redirect_uri": ""} | json.loads(row.data)  # a device's answer has neither
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    if not hmac.compare_digest(challenge, about["challenge"]) or redirect_uri != about["redirect_uri"]:
        raise wrong
    if row.used_ns:
        # Used twice: one of the two was not the terminal, so neither keeps what it got (RFC 6749, 4.1.2).
        now_ns = gate.clock.now_ns()
        entry = Entry("sign_in.terminal.replayed", "", row.person, now_ns, {"credential": _id_of(row)})
        await gate.store.apply(Change((entry,), people=(Revoke(now_ns, id=_id_of(row)),)))
        raise wrong
    try:
        return await _open(gate, row, about)
    except CodeUsed:
        raise wrong from None


def _id_of(row: Code) -> str:
    """A terminal's sign-in is named after what it was made from, so that the one can end the other."""
    return f"ses_{row.digest[:20]}"


async def _open(gate: Gate, row: Code, about: dict[str, Any], *also: UseCode) -> Made:
    now_ns = gate.clock.now_ns()
    if gate.directory.person(row.person, now_ns) is None:
        raise TerminalError("access_denied", "You are not active any more. Ask the operator.")
    signed = Signed(row.person, Assurance(about["assurance"]), int(about["mfa_at_ns"]))
    made = new_credential(signed, "cli", about["name"], now_ns, _id_of(row))
    body = {"credential": made.credential.id, "assurance": about["assurance"], "name": made.credential.name}
    entry = Entry("sign_in.terminal", "", row.person, now_ns, body)
    await gate.store.apply(Change((entry,), people=(UseCode(row.digest, now_ns), *also, made.credential)))
    return made


# ---- by a code that is typed elsewhere -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Device:
    """What a terminal without a browser is told: it keeps `device_code` and shows `user_code`."""

    device_code: str
    user_code: str


@dataclass(frozen=True)
class Waiting:
    """A terminal that waits for somebody's yes: what it calls its machine, and where it calls from."""

    row: Code
    name: str
    ip: str
    since_ns: int


@dataclass
class Polls:
    """When each terminal asked last, and how long it must wait now (s). In memory: losing it costs an early answer."""

    seen: dict[str, tuple[int, int]] = field(default_factory=dict)

    def too_soon(self, digest: str, now_ns: int) -> bool:
        """Notes the poll. Who asks too soon must wait five seconds more from then on."""
        self.seen = {d: v for d, v in self.seen.items() if now_ns - v[0] < DEVICE_S * NS}
        last_ns, wait_s = self.seen.get(digest, (0, INTERVAL_S))
        soon = now_ns - last_ns < wait_s * NS
        self.seen[digest] = (now_ns, wait_s + INTERVAL_S if soon else wait_s)
        return soon


async def begin_device(gate: Gate, name: str, ip: str) -> Device:
    """Raises Unavailable."""
    device_code, now_ns = secrets.token_urlsafe(32), gate.clock.now_ns()
    until_ns = now_ns + DEVICE_S * NS
    while True:
        user_code = "".join(secrets.choice(LETTERS) for _ in range(8))
        about = {"name": plain(name), "ip": ip, "since": str(now_ns), "device": _device_digest(device_code)}
        rows = (
            Code(_user_digest(user_code), "device", "", json.dumps(about), until_ns),
            Code(_device_digest(device_code), "device", "", json.dumps(about), until_ns),
        )
        try:
            await gate.store.apply(Change((), people=rows))
        except Conflict:
            continue  # somebody has this very code
        return Device(device_code, f"{user_code[:4]}-{user_code[4:]}")


def _device_digest(device_code: str) -> str:
    return secret_digest(f"device {device_code}")


def _user_digest(user_code: str) -> str:
    letters = "".join(c for c in user_code.upper() if c.isalpha())
    return secret_digest(f"typed {letters}")


def _answer_digest(device: str) -> str:
    return secret_digest(f"answer {device}")


async def waiting(gate: Gate, user_code: str) -> Waiting:
    """The terminal that shows this code. Raises Refused (404)."""
    row = await gate.store.code(_user_digest(user_code))
    if row is None or row.kind != "device" or row.used_ns or row.expires_ns <= gate.clock.now_ns():
        words = "No terminal shows this code now. Look at the terminal again; a code is good for ten minutes."
        raise Refused(Problem.NOT_FOUND, 404, words)
    about = json.loads(row.data)
    return Waiting(row, about["name"], about["ip"], int(about["since"]))


async def answer(gate: Gate, who: Asker, user_code: str, allow: bool) -> Waiting:
    """This person's yes or no to the terminal. Raises Refused."""
    found, now_ns = await waiting(gate, user_code), gate.clock.now_ns()
    about = json.loads(found.row.data)
    said = _signed(who) | {"name": found.name, "allow": "yes" if allow else "no"}
    row = Code(_answer_digest(about["device"]), "grant", who.id, json.dumps(said), found.row.expires_ns)
    kind = "sign_in.device.allowed" if allow else "sign_in.device.denied"
    entry = Entry(kind, "", who.id, now_ns, {"name": found.name, "ip": found.ip})
    try:
        await gate.store.apply(Change((entry,), people=(UseCode(found.row.digest, now_ns), row)))
    except CodeUsed:
        raise Refused(Problem.NOT_FOUND, 404, "This code was answered already.") from None
    return found


async def poll(gate: Gate, polls: Polls, device_code: str) -> Made:
    """The terminal's token once somebody said yes. Raises TerminalError."""
    now_ns, digest = gate.clock.now_ns(), _device_digest(device_code)
    row = await gate.store.code(digest)
    if row is None or row.kind != "device" or row.used_ns:
        raise TerminalError("invalid_grant", "This device code is not good. Run `opsgate login --device` again.")
    if row.expires_ns <= now_ns:
        raise TerminalError("expired_token", "Nobody confirmed in time. Run `opsgate login --device` again.")
    if polls.too_soon(digest, now_ns):
        raise TerminalError("slow_down", "Ask less often.")
    said = await gate.store.code(_answer_digest(digest))
    if said is None:
        raise TerminalError("authorization_pending", "Nobody confirmed yet.")
    about = json.loads(said.data)
    if about["allow"] != "yes":
        raise TerminalError("access_denied", "It was refused in the browser.")
    try:
        return await _open(gate, said, about, UseCode(digest, now_ns))
    except CodeUsed:
        raise TerminalError("invalid_grant", "This device code was used already.") from None
