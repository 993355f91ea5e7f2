"""What follows a step-up link: the person signs in again, and their approval is cast with that assurance, once.

Refuses anybody but the one the link was made for, and anything but what the link was made about.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from gateway.domain import binding
from gateway.domain.directory import Asker
from gateway.domain.errors import Refused
from gateway.domain.invocation import Invocation
from gateway.domain.people import Code, UseCode
from gateway.domain.ports import Change, Once
from gateway.flows.gate import Gate
from gateway.flows.sign_in import Proof, write_once
from gateway.flows.step_up import secret_digest
from gateway.flows.vote import Ballot, vote
from gateway.flows.voters import needs_step_up
from opsgate.contracts.invocations import Answer
from opsgate.contracts.problems import Code as Problem

OVER = "This link was used already or is older than five minutes. Press Approve in the chat again for a new one."
CHANGED = "What waits is not what this link was made for any more. Look at the card in the chat again, then decide."


@dataclass(frozen=True)
class StepUp:
    """A link that holds: what it is kept by, what it is about, and the Invocation as it is now."""

    code: Code
    about: dict[str, Any]
    inv: Invocation

    @property
    def is_current(self) -> bool:
        return bool(self.about["hash"] == self.inv.binding_hash)


async def look(gate: Gate, secret: str) -> StepUp:
    """What a link is about. Raises Refused (404) when it is over or never was."""
    return await _find(gate, secret_digest(secret))


async def _find(gate: Gate, digest: str) -> StepUp:
    code = await gate.store.code(digest)
    if code is None or code.kind != "step_up" or code.used_ns or code.expires_ns <= gate.clock.now_ns():
        raise Refused(Problem.NOT_FOUND, 404, OVER)
    about = json.loads(code.data)
    inv = await gate.store.invocation(about["invocation"])
    if inv is None:
        raise Refused(Problem.NOT_FOUND, 404, OVER)
    return StepUp(code, about, inv)


async def cast(gate: Gate, proof: Proof) -> Answer:
    """The approval of who came back from the provider, and what became of it. Raises Refused."""
    step = await _find(gate, proof.step_up)
    inv, giver = step.inv, str(step.about["giver"])
    person = gate.directory.person(proof.signed.person, gate.clock.now_ns())
    if proof.signed.person != step.code.person or person is None:
        why = "You signed in as somebody else than the one this link is for. Sign in as yourself."
        raise await _refused(gate, proof, step, why)
    who = Asker(
        principal=person,
        assurance=proof.signed.assurance,
        method="oidc",
        platform="web",
        mfa_at_ns=proof.signed.mfa_at_ns,
    )
    if not step.is_current:
        raise await _refused(gate, proof, step, CHANGED)
    if needs_step_up(gate, inv, who, giver):
        why = "This approval needs a second factor, and your sign-in used none. Open the link again and use one."
        raise await _refused(gate, proof, step, why)
    now_ns = gate.clock.now_ns()
    entry = gate.entry("step_up.done", inv, who.id, now_ns, assurance=who.assurance.value, issuer=proof.issuer)
    # Both codes are used up before the vote: a failure in between costs a new link, never a second vote.
    await write_once(gate, Change((entry,), people=(*proof.writes, UseCode(step.code.digest, now_ns))))
    ballot = Ballot(inv.id, "approve", str(step.about["hash"]), str(step.about["reason"]), giver or None)
    return await vote(gate, ballot, who, lambda answer: _once(who, step, answer))


def _once(who: Asker, step: StepUp, answer: Answer) -> Once:
    fingerprint = binding.digest(step.about)
    return Once(f"{who.id} step-up", step.code.digest, fingerprint, 200, answer.model_dump_json(by_alias=True))


async def _refused(gate: Gate, proof: Proof, step: StepUp, why: str) -> Refused:
    """Uses up the sign-in but not the link: the right person may still follow it."""
    now_ns = gate.clock.now_ns()
    entry = gate.entry("step_up.refused", step.inv, proof.signed.person, now_ns, why=why, link_of=step.code.person)
    await write_once(gate, Change((entry,), people=proof.writes[:1]))
    return Refused(Problem.FORBIDDEN, 403, why)
