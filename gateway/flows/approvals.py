"""What waits for whom: lists for the approvals page and for chat. Who is eligible is told by groups, as on the card."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gateway.domain.directory import Asker
from gateway.domain.invocation import Invocation
from gateway.domain.ports import Query
from gateway.flows.gate import Gate
from gateway.flows.voters import groups_of, one_with_asker
from opsgate.contracts.base import Effect

LOOKED_AT = 1_000
AT_A_TIME = 100
Before = tuple[int, str] | None


async def waiting_for(gate: Gate, who: Asker) -> list[Invocation]:
    """Oldest first: what this person, or somebody who delegated to them, is asked to agree to and did not vote on."""
    givers = gate.directory.givers(who.id, gate.clock.now_ns())
    as_whom = (who.id, *givers)
    found = []
    for inv in await gate.store.waiting(LOOKED_AT):
        apart = one_with_asker(gate, inv)
        voted = any(v.by == who.id for v in inv.votes)
        open_groups = {g for s in inv.decision.requirements if not s.met for g in s.requirement.groups}
        if who.id in apart or voted:
            continue
        if any(open_groups & groups_of(gate, person) for person in as_whom if person not in apart):
            found.append(inv)
    return found


async def asked_by(gate: Gate, who: Asker, before: Before, limit: int) -> list[Invocation]:
    """Newest first: what this person asked to change. What only reads is no matter of approvals."""

    def read(since: Before) -> Awaitable[list[Invocation]]:
        return gate.store.invocations(Query(viewer=who.id, limit=AT_A_TIME, before=since, asked_by=who.id))

    return await _picked(read, lambda inv: inv.effect is not Effect.READ, before, limit)


async def decided_by(gate: Gate, who: Asker, before: Before, limit: int) -> list[Invocation]:
    """Newest first: what this person said yes or no to, and did not take back."""

    def read(since: Before) -> Awaitable[list[Invocation]]:
        return gate.store.voted(who.id, since, AT_A_TIME)

    return await _picked(read, lambda inv: any(v.by == who.id for v in inv.votes), before, limit)


async def _picked(
    read: Callable[[Before], Awaitable[list[Invocation]]],
    fits: Callable[[Invocation], bool],
    before: Before,
    limit: int,
) -> list[Invocation]:
    """The first `limit` that fit, among at most LOOKED_AT."""
    found: list[Invocation] = []
    for _ in range(LOOKED_AT // AT_A_TIME):
        rows = await read(before)
        found += filter(fits, rows)
        if len(rows) < AT_A_TIME or len(found) >= limit:
            break
        before = (rows[-1].created_ns, rows[-1].id)
    return found[:limit]
