"""From what was asked to a drafted Invocation: understood, resolved, hashed; and to the Change that writes it down."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from gateway.domain import arguments, catalog
from gateway.domain.arguments import Asked, Options
from gateway.domain.binding import binding_hash, digest
from gateway.domain.directory import Asker
from gateway.domain.errors import Mistake
from gateway.domain.ids import new_id
from gateway.domain.invocation import NS, Invocation, Job, when
from gateway.domain.ports import Change
from gateway.domain.words import touches
from gateway.flows.gate import STATE_OF, Gate, open_name, summary
from gateway.flows.gate import Asked as Answered
from opsgate.contracts.decisions import Decision, NextAction, Verdict
from opsgate.contracts.invocations import ChatContext, State

OTHER_WORDS = tuple(sorted(catalog.RESERVED - {"ops"}))
DEFAULT_WAIT_S = 30 * 60
"""How long an Invocation waits for approval when no requirement says otherwise."""
START_WITHIN_NS = 3600 * NS
BOUND_CONTEXT = ("tenant", "reason", "ticket", "break_glass")


@dataclass(frozen=True)
class Ask:
    """What is asked, before it is understood: a line of text, or a command with typed arguments."""

    text: str | None
    command: str | None
    args: dict[str, Any]
    options: Options
    context: ChatContext
    traceparent: str = ""


def understand(gate: Gate, ask: Ask) -> Asked:
    """Text or arguments into the one canonical form. Raises Mistake."""
    cat, directory = gate.catalog(), gate.directory
    if (ask.text is None) == (ask.command is None):
        raise Mistake("Send either `text` (a command line) or `command` with `args`, not both and not neither.")
    if ask.text is not None:
        asked = arguments.parse(ask.text, cat, directory, OTHER_WORDS)
        beside = {n: v for n, v in asdict(ask.options).items() if v and not getattr(asked.options, n)}
        if beside:
            return arguments.bind(asked.command, asked.args, replace(asked.options, **beside), directory)
        return asked
    command = cat.find(ask.command or "")
    if command is None:
        guess = arguments.near(ask.command or "", cat.words())
        raise Mistake(f"There is no command `{(ask.command or '')[:64]}`.", suggestion=guess)
    return arguments.bind(command, ask.args, ask.options, directory)


def draft(gate: Gate, asked: Asked, who: Asker, context: ChatContext, traceparent: str) -> Invocation:
    """The Invocation as asked: typed, resolved, hashed, not yet decided."""
    command, args, options = asked.command, asked.args, asked.options
    service = str(catalog.fill(command.target.service, args) or "")
    environment = str(catalog.fill(command.target.environment, args) or "")
    work = {k: catalog.fill(v, args) for k, v in command.inputs.items()}
    now_ns = gate.clock.now_ns()
    hashed = binding_hash(bound(gate.tenant, asked, who, (service, environment), work), BOUND_CONTEXT)
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
        reason=options.reason,
        ticket=options.ticket,
        incident=options.break_glass,
        touches=touches(gate.directory.service(service), environment, command.irreversible),
        asked_by=who.id,
        asked_by_name=who.principal.name,
        asked_by_kind=who.principal.kind,
        actors=who.actors,
        scopes=who.scopes,
        assurance=who.assurance,
        mfa_at_ns=who.mfa_at_ns,
        method=who.method,
        adapter=who.adapter,
        platform=who.platform,
        context=context,
        created_ns=now_ns,
        updated_ns=now_ns,
        expires_ns=now_ns + DEFAULT_WAIT_S * NS,
        binding_hash=hashed,
        requirement_digest="",
        decision=_undecided(hashed, now_ns),
        traceparent=traceparent,
    )


def bound(tenant: str, asked: Asked, who: Asker, target: tuple[str, str], work: dict[str, Any]) -> dict[str, Any]:
    """Exactly what was asked, in the words of AuthZEN: whatever of it changes, it is another asking."""
    command = asked.command
    return {
        "subject": {"type": who.principal.kind.value, "id": who.id, "properties": {"act": list(who.actors)}},
        "resource": {
            "type": "service",
            "id": "/".join(reversed(target)),
            "properties": {"service": target[0], "environment": target[1]},
        },
        "action": {
            "name": command.name,
            "properties": {
                "effect": command.effect.value,
                "args": asked.args,
                "operation": command.operation,
                "input": work,
                "timeout_s": command.timeout_s,
            },
        },
        "context": {"tenant": tenant, **asdict(asked.options)},
    }


def _undecided(hashed: str, now_ns: int) -> Decision:
    return Decision(
        id="none",
        effect=Verdict.DENY,
        phase="request",
        request_hash=hashed,
        input_digest=digest(None),
        revision="none",
        evaluated_at=when(now_ns),
        next_action=NextAction.NONE,
    )


def queued_job(now_ns: int, *limits_ns: int) -> Job:
    """Work to be started by the earliest of these moments (0: none). Without any it is over in an hour:
    a change must not happen at three in the morning because a worker came back then.
    """
    start_by_ns = min([n for n in limits_ns if n], default=now_ns + START_WITHIN_NS)
    return Job(queued_ns=now_ns, due_ns=now_ns, start_by_ns=start_by_ns)


def written(gate: Gate, inv: Invocation, answer: Answered, start_by_ns: int = 0) -> Change:
    """A new Invocation in the state its Decision gives it, with its audit entry."""
    decision = answer.decision
    state = STATE_OF[decision.effect.value]
    queued, pending = state is State.QUEUED, state is State.PENDING
    waits = [s.requirement.wait_s or DEFAULT_WAIT_S for s in decision.requirements]
    made = inv.model_copy(
        update={
            "state": state,
            "version": 1,
            "decision": decision,
            "requirement_digest": answer.requirement_digest,
            "expires_ns": inv.created_ns + min(waits, default=DEFAULT_WAIT_S) * NS,
            "job": queued_job(inv.created_ns, start_by_ns) if queued else None,
        }
    )
    details = {"text": inv.text, "platform": inv.platform, "adapter": inv.adapter, "actors": list(inv.actors)}
    return Change(
        entries=(gate.entry("invocation.asked", made, inv.asked_by, inv.created_ns, **details, **summary(decision)),),
        invocation=made,
        decisions=(answer.record,),
        wake_ns=inv.created_ns if queued else None,
        take=(open_name(inv),) if pending else (),
    )
