"""Somebody asks for a Command: parse, resolve, hash, ask the policy, write it down, answer. Start reading here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gateway.domain.catalog import Command
from gateway.domain.directory import Asker
from gateway.domain.errors import Conflict, LockHeld, Refused
from gateway.domain.invocation import Invocation
from gateway.domain.ports import Change, Once
from gateway.flows import own
from gateway.flows.drafting import Ask, draft, understand, written
from gateway.flows.gate import WORKER_FRESH_NS, Gate
from gateway.flows.obligations import fulfil
from gateway.flows.teach import taught
from opsgate.contracts.decisions import Verdict
from opsgate.contracts.invocations import State
from opsgate.contracts.problems import Code

OnceMaker = Callable[[Invocation], Once | None]
"""From the Invocation as it will be stored to its idempotency record: the answer is kept with what it answers."""
TRIES = 5


async def submit(gate: Gate, ask: Ask, who: Asker, once: OnceMaker) -> Invocation:
    """The Invocation, decided and on disk. Raises Mistake, Refused, Unavailable, KeyTaken."""
    wait = await gate.limits.take(who.id)
    if wait:
        raise Refused(Code.RATE_LIMITED, 429, f"That was a lot at once. Wait {wait} s.", retry_after_s=wait)
    asked = understand(gate, ask)
    await refuse_unworkable(gate, asked.command)
    inv = draft(gate, asked, who, ask.context, ask.traceparent)
    for _ in range(TRIES):
        change = await decide(gate, inv)
        made = change.invocation or inv
        try:
            await gate.store.apply(replace(change, once=once(made)))
        except LockHeld as held:
            found = await _same(gate, held.holder, inv, once)
            if found is not None:
                return found
            continue  # it was decided meanwhile: this one is asked anew
        except Conflict:
            continue  # the same person broke the glass elsewhere at this moment: the policy must know of it
        gate.on_change()
        if made.state is State.QUEUED and own.is_own(made.operation):
            # A freeze is a brake: it holds when the answer is given. Should this process die here, the outbox does it.
            return await own.carry_out(gate, made)
        return made
    raise Refused(
        Code.NOT_POSSIBLE_NOW, 409, "The same was asked many times at once. Look at `history`, then ask again."
    )


async def decide(gate: Gate, inv: Invocation) -> Change:
    """The policy's answer to a drafted Invocation, with everything it obliges to, as one Change. Raises Unavailable."""
    answer = await gate.ask(inv, "request")
    if answer.decision.effect is not Verdict.ALLOW:
        return written(gate, await taught(gate, inv, answer.decision), answer)
    done = await fulfil(gate, inv, answer.decision, inv.created_ns)
    if done.failure is not None:
        return written(gate, inv, answer.denied(done.failure))
    change = written(gate, inv, answer, done.start_by_ns)
    return replace(change, people=done.people, notice=done.notice, also=done.also)


async def _same(gate: Gate, holder: str, inv: Invocation, once: OnceMaker) -> Invocation | None:
    """The same person asks the same again while the first still waits: there is one card, and it is that one."""
    found = await gate.store.invocation(holder)
    if found is None or found.state is not State.PENDING:
        return None
    entry = gate.entry("invocation.asked_again", found, inv.asked_by, inv.created_ns, platform=inv.platform)
    await gate.store.apply(Change((entry,), once=once(found)))
    return found


async def refuse_unworkable(gate: Gate, command: Command) -> None:
    """A command whose operation nobody ever offered cannot run; say so at once. A stopped worker is waited for."""
    if own.is_own(command.operation):
        return
    offers = await gate.store.offers()
    now_ns = gate.clock.now_ns()
    someone = any(now_ns - seen < WORKER_FRESH_NS for _, seen in offers.values())
    if command.operation not in offers and someone:
        raise Refused(
            Code.NOT_POSSIBLE_NOW,
            409,
            f"`{command.name}` needs the operation `{command.operation}`, which no worker offers. "
            "Ask the operator to start a worker with that connector, or to correct the command file.",
        )
