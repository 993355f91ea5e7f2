"""Publishes the outbox: wakes workers for due Jobs. Retries for ever, may publish twice; the claim sorts it out."""

from __future__ import annotations

from gateway.domain.invocation import NS
from gateway.flows import own
from gateway.flows.gate import Gate

HOLD_NS = 10 * NS
"""A row taken by a relay that died is taken again after this long."""
BATCH = 100


async def relay(gate: Gate) -> int:
    """One pass; how many Jobs were woken. Raises Unavailable when the broker or the database is gone."""
    now_ns = gate.clock.now_ns()
    rows = await gate.store.due(now_ns, HOLD_NS, BATCH)
    done: list[int] = []
    try:
        for row in rows:
            inv = await gate.store.invocation(row.job)
            if inv is not None and own.is_own(inv.operation):
                await own.carry_out(gate, inv)
            else:
                ticket = gate.tickets.issue(row.job, row.binding_hash, now_ns)
                await gate.dispatcher.wake(row.job, ticket, row.traceparent)
            done.append(row.id)
    finally:
        if done:
            await gate.store.published(done)
    return len(done)
