"""The gate: the ports every flow needs, and the one way to ask the policy about an Invocation.

Refuses to guess: no decision is a deny with its own reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.domain import deciding
from gateway.domain.audit_chain import Entry
from gateway.domain.catalog import Catalog
from gateway.domain.deciding import Facts, Phase
from gateway.domain.directory import Asker, Directory, Principal
from gateway.domain.invocation import NS, Invocation
from gateway.domain.ports import (
    Bus,
    Clock,
    DecisionRecord,
    Dispatcher,
    Limits,
    Policy,
    Store,
    SystemState,
    Tickets,
)
from opsgate.contracts.decisions import Decision, PolicyAnswer
from opsgate.contracts.invocations import State

PENDING_NS = 30 * 60 * NS
"""How long an Invocation waits for approval (30 minutes, absolute)."""
LEASE_NS = 15 * NS
"""How long a worker holds a Job without a sign of life."""
WORKER_FRESH_NS = 15 * NS
"""A worker that did not announce itself for this long counts as gone."""


@dataclass
class Gate:
    """All ports, made in `gateway.wiring`. `catalog` and `directory` give what is in force at the moment."""

    tenant: str
    zones: tuple[str, ...]
    store: Store
    policy: Policy
    dispatcher: Dispatcher
    tickets: Tickets
    limits: Limits
    bus: Bus
    clock: Clock
    catalog: Callable[[], Catalog]
    directory: Callable[[], Directory]
    system: SystemState = field(default_factory=SystemState)
    on_change: Callable[[], None] = lambda: None
    """Called after each durable change: wakes the relay and the feed of this process."""
    observe: Callable[[Decision, int], None] = lambda _decision, _duration_us: None
    """Called for each Decision with how long the policy took, in microseconds."""

    async def ask(self, inv: Invocation, phase: Phase, who: Asker | Principal) -> Asked:
        """The policy's Decision about this Invocation as it is, with its votes, in this phase."""
        now_ns = self.clock.now_ns()
        freezes, recent = await self.store.facts(inv, now_ns)
        facts = Facts(self.tenant, now_ns, self.zones, self.policy.revision, None, freezes, recent)
        document = deciding.policy_input(inv, phase, who, self.directory(), facts)
        began = time.perf_counter_ns()
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


def summary(decision: Decision) -> dict[str, object]:
    """What the audit log keeps of a Decision."""
    return {
        "decision": decision.id,
        "effect": decision.effect.value,
        "phase": decision.phase,
        "reasons": [r.code for r in decision.reasons],
        "grants": [g.rule for g in decision.grants],
        "unmet": [s.requirement.id for s in decision.requirements if not s.met],
        "revision": decision.revision,
        "input": decision.input_digest,
    }


STATE_OF = {"allow": State.QUEUED, "pending": State.PENDING, "deny": State.DENIED}
