"""A chat account becomes one with a person by a link that is opened, and confirmed, by that person signed in.

Refuses to believe a chat about who somebody is, and to take an account away from whoever has it.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass

from gateway.domain.arguments import words_of
from gateway.domain.audit_chain import Entry
from gateway.domain.directory import Asker, Principal
from gateway.domain.errors import AlreadyLinked, CodeUsed, Mistake, Refused, not_found
from gateway.domain.invocation import NS, when
from gateway.domain.people import Code, Link, Unlink, UseCode
from gateway.domain.ports import Change, Once, Proven
from gateway.flows.explain import SECURITY
from gateway.flows.gate import Gate
from gateway.flows.identify import Unlinked
from gateway.flows.in_person import refuse_others
from gateway.flows.step_up import secret_digest
from opsgate.contracts.invocations import Answer
from opsgate.contracts.messages import Card
from opsgate.contracts.messages import Link as Page
from opsgate.contracts.people import LinkedAccount
from opsgate.contracts.problems import Code as Problem

LIFE_NS = 10 * 60 * NS
OVER = "This link was used already or is older than ten minutes. Type `help` in the chat again for a new one."
TAKEN = (
    "This chat account is linked to another person, and an account is one person's only. That person can give it up "
    "with `unlink`; if it is yours and you did not do this, tell security."
)
ABOUT = (
    "Opsgate runs commands from chat: it checks who you are, asks the policy whether you may, collects the approvals "
    "that are needed, and writes everything down."
)
UNKNOWN = "This chat account is not linked to a person yet, so nothing it types or presses counts."
HOW = (
    "Open the link, sign in, and confirm that this account is yours; from then on what you type here is done as you. "
    "It is good once, for ten minutes. Do not pass it on."
)
NO_SIGN_IN = "Nobody can sign in here: ask the operator to add this account to you in the directory."
INACTIVE = "This chat account belongs to somebody who is not active any more. Ask the operator."


@dataclass(frozen=True)
class Offer:
    """A link that holds: which chat account, and by what it is kept."""

    code: Code
    identity: str
    platform: str
    workspace: str
    adapter: str

    @property
    def account(self) -> str:
        """The account as its platform calls it."""
        return self.identity.rpartition("/")[2]


# ---- offering --------------------------------------------------------------------------------------------------------


async def offer(gate: Gate, nobody: Unlinked) -> Answer:
    """What an account that is nobody's yet is told: what this is, and where to link it. Raises Refused (429)."""
    proven = nobody.proven
    wait = await gate.limits.take(f"link {proven.identity}")
    if wait:
        raise Refused(Problem.RATE_LIMITED, 429, f"That was a lot at once. Wait {wait} s.", retry_after_s=wait)
    if _listed(gate, proven.identity) or await _person_of(gate, proven.identity):
        return await _refused(gate, proven, nobody.adapter, INACTIVE)
    if not gate.signs_in:
        return await _refused(gate, proven, nobody.adapter, f"{UNKNOWN} {NO_SIGN_IN}")
    link = Page(label="Link this account to me", url=await _make(gate, proven, nobody.adapter))
    if _asks_for_help(proven):
        shown = Card(tone="info", title="What Opsgate is", text=f"{ABOUT} {UNKNOWN} {HOW}", links=(link,))
        return Answer(kind="help", private=True, card=shown)
    shown = Card(tone="denied", title="Not linked yet", text=f"{UNKNOWN} {HOW}", links=(link,))
    return Answer(kind="refusal", private=True, card=shown)


def _asks_for_help(proven: Proven) -> bool:
    try:
        words = words_of(proven.text or "")
    except Mistake:
        return False
    return proven.action is None and (not words or words[0].text == "help")


async def _make(gate: Gate, proven: Proven, adapter: str) -> str:
    secret, now_ns = secrets.token_urlsafe(32), gate.clock.now_ns()
    about = _about(proven, adapter)
    code = Code(secret_digest(secret), "link", "", json.dumps(about), now_ns + LIFE_NS)
    entry = Entry("link.offered", "", proven.identity, now_ns, about | {"asked": _asked(proven)})
    await gate.store.apply(Change((entry,), people=(code,)))
    return f"{gate.public_url}/link/{secret}"


async def _refused(gate: Gate, proven: Proven, adapter: str, words: str) -> Answer:
    """Without a link there is nothing to offer; it is written down all the same."""
    body = _about(proven, adapter) | {"asked": _asked(proven), "why": words}
    await gate.store.apply(Change((Entry("link.refused", "", proven.identity, gate.clock.now_ns(), body),)))
    if _asks_for_help(proven):
        card = Card(tone="info", title="What Opsgate is", text=f"{ABOUT} {words}")
        return Answer(kind="help", private=True, card=card)
    return Answer(kind="refusal", private=True, card=Card(tone="denied", title="Not linked", text=words))


def _about(proven: Proven, adapter: str) -> dict[str, str]:
    platform = proven.identity.partition(":")[0]
    return {"identity": proven.identity, "platform": platform, "workspace": proven.workspace, "adapter": adapter}


def _asked(proven: Proven) -> str:
    """What they wanted, for the record: the line itself may hold anything, so it is not kept."""
    return " ".join(proven.action[:2])[:60] if proven.action else "a message"


# ---- following -------------------------------------------------------------------------------------------------------


async def look(gate: Gate, secret: str, who: Asker) -> Offer:
    """What a link is about, for the person who opened it. Raises Refused (403, 404, 409)."""
    refuse_others(who, "link an account")
    code = await gate.store.code(secret_digest(secret))
    if code is None or code.kind != "link" or code.used_ns or code.expires_ns <= gate.clock.now_ns():
        raise Refused(Problem.NOT_FOUND, 404, OVER)
    found = Offer(code, **json.loads(code.data))
    listed = _listed(gate, found.identity)
    holder = listed.id if listed else await _person_of(gate, found.identity)
    if holder and holder != who.id:
        raise Refused(Problem.NOT_POSSIBLE_NOW, 409, TAKEN)
    return found


async def confirm(gate: Gate, secret: str, who: Asker) -> Offer:
    """The account is this person's from now on. Raises Refused (403, 404, 409)."""
    found, now_ns = await look(gate, secret, who), gate.clock.now_ns()
    body = {"identity": found.identity, "adapter": found.adapter, "assurance": who.assurance.value}
    entry = Entry("account.linked", "", who.id, now_ns, body)
    writes = (UseCode(found.code.digest, now_ns), Link(found.identity, who.id, now_ns))
    try:
        await gate.store.apply(Change((entry,), people=writes))
    except CodeUsed:
        raise Refused(Problem.NOT_FOUND, 404, OVER) from None
    except AlreadyLinked:
        raise Refused(Problem.NOT_POSSIBLE_NOW, 409, TAKEN) from None
    await gate.folk.refresh()
    return found


# ---- listing and undoing ---------------------------------------------------------------------------------------------


async def accounts(gate: Gate, person_id: str) -> list[LinkedAccount]:
    """All chat accounts of a person, those of the directory file first."""
    listed = next((p.identities for p in gate.directory.people if p.id == person_id), ())
    found = [_shown(identity, person_id, 0) for identity in listed]
    return found + [_shown(x.identity, person_id, x.at_ns) for x in await gate.store.links(person_id)]


def _shown(identity: str, person: str, at_ns: int) -> LinkedAccount:
    return LinkedAccount(
        identity=identity,
        platform=identity.partition(":")[0],
        person=person,
        by="sign-in" if at_ns else "directory",
        linked_at=when(at_ns) if at_ns else None,
    )


async def unlink(gate: Gate, identity: str, who: Asker, once: Once | None = None) -> None:
    """The account is nobody's from now on. One's own, or anybody's for security. Raises Refused (403, 404, 409)."""
    refuse_others(who, "unlink an account")
    listed = _listed(gate, identity)
    holder = listed.id if listed else await _person_of(gate, identity)
    if not holder or (holder != who.id and SECURITY not in who.principal.groups):
        raise not_found(f"linked account `{identity[:100]}`")
    if listed:
        words = f"{identity} stands in the directory file, so it cannot be unlinked here. Ask the operator."
        raise Refused(Problem.NOT_POSSIBLE_NOW, 409, words)
    now_ns = gate.clock.now_ns()
    entry = Entry("account.unlinked", "", who.id, now_ns, {"identity": identity, "person": holder})
    await gate.store.apply(Change((entry,), people=(Unlink(identity),), once=once))
    await gate.folk.refresh()


def _listed(gate: Gate, identity: str) -> Principal | None:
    """Whose account it is by the directory file, active or not."""
    return next((p for p in gate.directory.people if identity in p.identities), None)


async def _person_of(gate: Gate, identity: str) -> str:
    """Whose account it is by a link."""
    return (await gate.store.people()).links.get(identity, "")
