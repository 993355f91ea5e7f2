"""What must happen for an allow to hold: somebody is paged, everybody is told, a review is opened, time is boxed.

All of it is written in the transaction of the allow itself, so that none of it can be lost or left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.domain.arguments import Options
from gateway.domain.directory import GATEWAY, Asker
from gateway.domain.errors import Mistake
from gateway.domain.ids import new_id
from gateway.domain.invocation import NS, Invocation
from gateway.domain.people import Review
from gateway.domain.ports import Change, Notice
from gateway.domain.words import glass_broken
from gateway.flows.drafting import Ask, draft, understand, written
from gateway.flows.gate import Gate
from opsgate.contracts.base import Assurance
from opsgate.contracts.decisions import Decision, Reason, Verdict
from opsgate.contracts.invocations import ChatContext

PAGE = "page"


@dataclass(frozen=True)
class Fulfilled:
    """What goes into the Change of the allow. `failure`: an obligation that cannot be fulfilled, so it is a deny."""

    people: tuple[Review, ...] = ()
    notice: Notice | None = None
    also: Change | None = None
    start_by_ns: int = 0
    failure: Reason | None = None


async def fulfil(gate: Gate, inv: Invocation, decision: Decision, now_ns: int) -> Fulfilled:
    """For an Invocation that was just allowed. Raises Unavailable."""
    wanted = {str(o["id"]): o for o in decision.obligations}
    if not wanted:
        return Fulfilled()
    also: Change | None = None
    if PAGE in wanted:
        also = await _page(gate, inv, wanted[PAGE])
        if also is None:
            words = (
                "The policy demands that somebody is paged, and this gateway cannot. Ask the operator to add `page`."
            )
            return Fulfilled(failure=Reason(code="policy_unknown_obligation", msg=words))
    loud = bool(inv.incident) or "notify" in wanted
    return Fulfilled(
        people=tuple(_review(inv, wanted[name], now_ns) for name in ("post_review",) if name in wanted),
        notice=Notice("", "", glass_broken(inv)) if loud else None,
        also=also,
        start_by_ns=_start_by(wanted.get("time_limit"), now_ns),
    )


def _review(inv: Invocation, wanted: dict[str, Any], now_ns: int) -> Review:
    return Review(
        id=new_id("rev"),
        invocation_id=inv.id,
        person=inv.asked_by,
        groups=_groups(wanted),
        opened_ns=now_ns,
        due_ns=now_ns + _seconds(wanted, "within_s") * NS,
    )


def _start_by(wanted: dict[str, Any] | None, now_ns: int) -> int:
    return 0 if wanted is None else now_ns + _seconds(wanted, "start_within_s") * NS


def _groups(wanted: dict[str, Any]) -> tuple[str, ...]:
    groups = wanted.get("groups")
    return tuple(str(g) for g in groups) if isinstance(groups, list | tuple) else ()


def _seconds(wanted: dict[str, Any], name: str) -> int:
    """A policy that gives no usable number gets the strictest: at once."""
    value = wanted.get(name)
    return int(value) if isinstance(value, int | float) and value > 0 else 0


async def _page(gate: Gate, inv: Invocation, wanted: dict[str, Any]) -> Change | None:
    """Paging is an Invocation like any other: asked by the gateway itself, decided, recorded, carried out."""
    given = {"group": " ".join(_groups(wanted)) or "security", "text": glass_broken(inv)[:300]}
    ask = Ask(None, PAGE, given, Options(), ChatContext(), inv.traceparent)
    try:
        asked = understand(gate, ask)
    except Mistake:
        return None
    who = gate.folk.person(GATEWAY)
    if who is None:
        return None
    asker = Asker(principal=who, assurance=Assurance.VERIFIED, method="gateway", platform="gateway")
    page = draft(gate, asked, asker, ask.context, ask.traceparent)
    answer = await gate.ask(page, "request")
    return written(gate, page, answer) if answer.decision.effect is Verdict.ALLOW else None
