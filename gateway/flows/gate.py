"""The gate: the ports every flow needs, and the one way to ask the policy about an Invocation.

Refuses to guess: no decision is a deny with its own reason.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from gateway.domain import deciding
from gateway.domain.audit_chain import Entry
from gateway.domain.catalog import Catalog
from gateway.domain.deciding import Facts, Phase
from gateway.domain.directory import Directory
from gateway.domain.invocation import NS, Invocation
from gateway.domain.ports import (
    Bus,
    Clock,
    DecisionRecord,
    Dispatcher,
    FactRow,
    Limits,
    Policy,
    Store,
    SystemState,
    Tickets,
    Tracker,
)
from gateway.flows.folk import Folk
from gateway.flows.kept import Kept
from opsgate.contracts.decisions import Decision, NextAction, PolicyAnswer, Reason, Verdict
from opsgate.contracts.invocations import State
from opsgate.contracts.policy import PolicyInput, Ticket

T = TypeVar("T")
LEASE_NS = 15 * NS
"""How long a worker holds a Job without a sign of life."""
WORKER_FRESH_NS = 15 * NS
"""A worker that did not announce itself for this long counts as gone."""


@dataclass
class Gate:
    """All ports, made in `gateway.wiring`. `catalog` and `folk` give what is in force at the moment.

    `public_url`: how people reach this gateway. `signs_in`: whether an identity provider is set up.
    """

    tenant: str
    zones: tuple[str, ...]
    store: Store
    policy: Policy
    dispatcher: Dispatcher
    tickets: Tickets
    tracker: Tracker
    limits: Limits
    bus: Bus
    clock: Clock
    catalog: Callable[[], Catalog]
    folk: Folk
    public_url: str = ""
    signs_in: bool = False
    system: SystemState = field(default_factory=SystemState)
    kept: Kept = field(default_factory=Kept)
    on_change: Callable[[], None] = lambda: None
    """Called after each durable change: wakes the relay and the feed of this process."""
    observe: Callable[[Decision, int], None] = lambda _decision, _duration_us: None
    """Called for each Decision with how long the policy took, in microseconds."""

    @property
    def directory(self) -> Directory:
        return self.folk.directory

    async def ask(self, inv: Invocation, phase: Phase) -> Asked:
        """The policy's Decision about this Invocation as it is, with its votes, in this phase."""
        asked = await self._ask(inv, phase)
        kept = tuple(v for v in inv.votes if v.verdict != "approve" or v.requirement_digest == asked.requirement_digest)
        if asked.decision.effect is not Verdict.ALLOW or kept == inv.votes:
            return asked
        # They agreed to something else than what is demanded now: it must be allowed without them.
        return await self._ask(inv.model_copy(update={"votes": kept}), phase)

    async def _ask(self, inv: Invocation, phase: Phase) -> Asked:
        now_ns = self.clock.now_ns()
        document = (await self._documents((inv,), phase, now_ns))[0]
        began = time.perf_counter_ns()
        result = await self.policy.decide(document)
        if result.revision != document.policy.revision:
            # Another policy came into force since the last question. Votes are bound to the revision, so the one that
            # decides must be the one in the question.
            revision = document.policy.model_copy(update={"revision": result.revision})
            document = document.model_copy(update={"policy": revision})
            result = await self.policy.decide(document)
        duration_us = (time.perf_counter_ns() - began) // 1000
        decision = deciding.decision(inv, phase, document, result)
        record = DecisionRecord(
            id=decision.id,
            invocation_id=inv.id,
            at_ns=now_ns,
            input=document.model_dump(mode="json", by_alias=True),
            result=decision.model_dump(mode="json"),
            revision=decision.revision,
            duration_us=duration_us,
        )
        self.observe(decision, duration_us)
        answer = result.answer
        return Asked(decision, record, deciding.requirement_digest(answer), answer, result.failure is not None)

    async def ask_all(self, invs: Sequence[Invocation]) -> list[Decision]:
        """What would be decided about each, as one question. For help and hints: nothing is recorded, nothing runs."""
        if not invs:
            return []
        documents = await self._documents(invs, "request", self.clock.now_ns())
        results = await self.policy.decide_all(documents)
        answered = zip(invs, documents, results, strict=True)
        return [deciding.decision(i, "request", d, r, kept=False) async for i, d, r in unhurried(answered)]

    async def _documents(self, invs: Sequence[Invocation], phase: Phase, now_ns: int) -> list[PolicyInput]:
        # Many questions about one target are hypothetical: what happened there lately is looked up once for them all.
        targets = {_target(inv): inv for inv in invs}
        rows = dict(zip(targets, await self.store.facts(tuple(targets.values()), now_ns), strict=True))
        await self.folk.catch_up(next(iter(rows.values())).people)
        found = {i.ticket: await self.tracker.find(i.ticket, now_ns) for i in invs if i.ticket}
        facts = {t: self._facts(row, None, now_ns) for t, row in rows.items()}
        directory = self.directory
        return [
            deciding.policy_input(inv, phase, directory, replace(facts[_target(inv)], ticket=found.get(inv.ticket)))
            async for inv in unhurried(invs)
        ]

    def _facts(self, row: FactRow, ticket: Ticket | None, now_ns: int) -> Facts:
        return Facts(self.tenant, now_ns, self.zones, self.policy.revision, None, row.freezes, row.recent, ticket)

    def entry(self, kind: str, inv: Invocation, actor: str, now_ns: int, **body: object) -> Entry:
        """An audit entry about an Invocation; the hash of what was asked is always in it."""
        common = {"state": inv.state.value, "binding_hash": inv.binding_hash}
        return Entry(kind, inv.id, actor, now_ns, {**common, **body})


@dataclass(frozen=True)
class Asked:
    """`no_decision`: the policy could not be asked, so the deny is the gate's own."""

    decision: Decision
    record: DecisionRecord
    requirement_digest: str
    answer: PolicyAnswer | None
    no_decision: bool

    def denied(self, why: Reason) -> Asked:
        """The same with a deny: the gateway cannot do what the policy demands."""
        update = {"effect": Verdict.DENY, "reasons": (why,), "next_action": NextAction.RETRY}
        return replace(self, decision=self.decision.model_copy(update=update), no_decision=True)


def summary(decision: Decision) -> dict[str, object]:
    """What the audit log keeps of a Decision."""
    return {
        "decision": decision.id,
        "effect": decision.effect.value,
        "phase": decision.phase,
        "reasons": [r.code for r in decision.reasons],
        "grants": [g.rule for g in decision.grants],
        "unmet": [s.requirement.id for s in decision.requirements if not s.met],
        "auto": [s.by for s in decision.requirements if s.by],
        "revision": decision.revision,
        "input": decision.input_digest,
    }


async def unhurried(items: Iterable[T]) -> AsyncIterator[T]:
    """One after the other, and after every few whoever waits for a real decision comes first."""
    for number, item in enumerate(items, 1):
        yield item
        if number % 16 == 0:
            await asyncio.sleep(0)


def _target(inv: Invocation) -> tuple[str, str, str]:
    return inv.asked_by, inv.service, inv.environment


def open_name(inv: Invocation) -> str:
    """The name an Invocation holds while it waits, so that the same asking is one card."""
    return f"open:{inv.binding_hash}"


STATE_OF = {"allow": State.QUEUED, "pending": State.PENDING, "deny": State.DENIED}
