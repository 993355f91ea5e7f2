"""Somebody asks for a Command: parse, resolve, hash, ask the policy, write it down, answer. Start reading here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.domain import arguments, catalog
from gateway.domain.arguments import Asked
from gateway.domain.binding import binding_hash, digest
from gateway.domain.catalog import Command
from gateway.domain.directory import Asker
from gateway.domain.errors import Mistake, Refused
from gateway.domain.ids import new_id
from gateway.domain.invocation import Invocation, Job, when
from gateway.domain.ports import Change, Once
from gateway.flows import own
from gateway.flows.gate import PENDING_NS, STATE_OF, WORKER_FRESH_NS, Gate, summary
from opsgate.contracts.decisions import Decision, NextAction, Verdict
from opsgate.contracts.invocations import ChatContext, State
from opsgate.contracts.problems import Code

OnceMaker = Callable[[Invocation], Once | None]
"""From the Invocation as it will be stored to its idempotency record: the answer is kept with what it answers."""

OTHER_WORDS = ("help", "why", "history", "cancel", "approve", "reject", "whoami")


@dataclass(frozen=True)
class Ask:
    """What is asked, before it is understood: a line of text, or a command with typed arguments."""

    text: str | None
    command: str | None
    args: dict[str, Any]
    reason: str
    context: ChatContext
    traceparent: str = ""


def understand(gate: Gate, ask: Ask) -> Asked:
    """Text or arguments into the one canonical form. Raises Mistake."""
    cat, directory = gate.catalog(), gate.directory()
    if (ask.text is None) == (ask.command is None):
        raise Mistake("Send either `text` (a command line) or `command` with `args`, not both and not neither.")
    if ask.text is not None:
        asked = arguments.parse(ask.text, cat, directory, OTHER_WORDS)
        if ask.reason and not asked.reason:
            return arguments.bind(asked.command, asked.args, ask.reason, directory)
        return asked
    command = cat.find(ask.command or "")
    if command is None:
        guess = arguments.near(ask.command or "", cat.words())
        raise Mistake(f"There is no command `{(ask.command or '')[:64]}`.", suggestion=guess)
    return arguments.bind(command, ask.args, ask.reason, directory)


def draft(gate: Gate, asked: Asked, who: Asker, context: ChatContext, traceparent: str) -> Invocation:
    """The Invocation as asked: typed, resolved, hashed, not yet decided."""
    command, args = asked.command, asked.args
    service = str(catalog.fill(command.target.service, args) or "")
    environment = str(catalog.fill(command.target.environment, args) or "")
    work = {k: catalog.fill(v, args) for k, v in command.inputs.items()}
    now_ns = gate.clock.now_ns()
    hashed = binding_hash(
        tenant=gate.tenant,
        subject=who.id,
        action={"name": command.name, "effect": command.effect.value, "args": args},
        target={"service": service, "environment": environment},
        work={"operation": command.operation, "input": work, "timeout_s": command.timeout_s},
        reason=asked.reason,
    )
    nothing_yet = Decision(
        id="none",
        effect=Verdict.DENY,
        phase="request",
        request_hash=hashed,
        input_digest=digest(None),
        revision="none",
        evaluated_at=when(now_ns),
        next_action=NextAction.NONE,
    )
    return Invocation(
        id=new_id("inv"),
        tenant=gate.tenant,
        version=0,
        state=State.DENIED,
        text=asked.text,
        command=command.name,
        effect=command.effect,
        args=args,
        spelled=asked.spelled,
        service=service,
        environment=environment,
        operation=command.operation,
        input=work,
        lock=str(catalog.fill(command.lock, args) or ""),
        timeout_s=command.timeout_s,
        irreversible=command.irreversible,
        idempotent=command.idempotent,
        reason=asked.reason,
        asked_by=who.id,
        asked_by_name=who.principal.name,
        asked_by_kind=who.principal.kind,
        assurance=who.assurance,
        method=who.method,
        adapter=who.adapter,
        platform=who.platform,
        context=context,
        created_ns=now_ns,
        updated_ns=now_ns,
        expires_ns=now_ns + PENDING_NS,
        binding_hash=hashed,
        requirement_digest="",
        decision=nothing_yet,
        traceparent=traceparent,
    )


async def submit(gate: Gate, ask: Ask, who: Asker, once: OnceMaker) -> Invocation:
    """The Invocation, decided and on disk. Raises Mistake, Refused, Unavailable, KeyTaken."""
    wait = await gate.limits.take(who.id)
    if wait:
        raise Refused(Code.RATE_LIMITED, 429, f"That was a lot at once. Wait {wait} s.", retry_after_s=wait)
    asked = understand(gate, ask)
    await refuse_unworkable(gate, asked.command)
    inv = draft(gate, asked, who, ask.context, ask.traceparent)
    answer = await gate.ask(inv, "request", who)
    state = STATE_OF[answer.decision.effect.value]
    inv = inv.model_copy(
        update={
            "state": state,
            "version": 1,
            "decision": answer.decision,
            "requirement_digest": answer.requirement_digest,
            "job": Job(queued_ns=inv.created_ns, due_ns=inv.created_ns) if state is State.QUEUED else None,
        }
    )
    details = {"text": inv.text, "platform": inv.platform, "adapter": inv.adapter, **summary(answer.decision)}
    entry = gate.entry("invocation.asked", inv, who.id, inv.created_ns, **details)
    change = Change(
        entries=(entry,),
        invocation=inv,
        decisions=(answer.record,),
        wake_ns=inv.created_ns if state is State.QUEUED else None,
        once=once(inv),
    )
    await gate.store.apply(change)
    gate.on_change()
    if state is State.QUEUED and own.is_own(inv.operation):
        # A freeze is a brake: it holds when the answer is given. Should this process die here, the outbox does it.
        return await own.carry_out(gate, inv)
    return inv


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
