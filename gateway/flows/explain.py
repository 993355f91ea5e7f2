"""What would be decided, and what somebody may do: help, autocompletion, `why`. Asks the policy, runs nothing."""

from __future__ import annotations

import asyncio

from gateway.domain.arguments import bind
from gateway.domain.catalog import Command, Param
from gateway.domain.directory import Asker, Directory
from gateway.domain.errors import Mistake, Refused
from gateway.domain.invocation import Invocation
from gateway.domain.words import missing, sentence, what_to_do_about
from gateway.flows.gate import Gate
from gateway.flows.submit import Ask, draft, understand
from opsgate.contracts.commands import CommandView, ParamView, WhatIf
from opsgate.contracts.decisions import Decision, Verdict
from opsgate.contracts.invocations import ChatContext
from opsgate.contracts.problems import Code

SECURITY = "security"
"""The group whose members may ask for others and read the audit log."""


async def what_if(gate: Gate, text: str, who: Asker, as_person: str | None) -> WhatIf:
    """What the policy would say to this line now. Raises Refused when asking for another is not allowed."""
    subject = who
    if as_person and as_person != who.id:
        other = gate.directory().person(as_person)
        if SECURITY not in who.principal.groups or other is None:
            raise Refused(Code.FORBIDDEN, 403, "Only members of security may ask what others may do.")
        subject = who.model_copy(update={"principal": other})
    asked = understand(gate, Ask(text, None, {}, "", ChatContext()))
    inv = draft(gate, asked, subject, ChatContext(), "")
    decision = (await gate.ask(inv, "request", subject)).decision
    return WhatIf(text=inv.text, person=subject.id, decision=decision, explanation=explanation(inv, decision))


def explanation(inv: Invocation, decision: Decision) -> str:
    """One to three sentences: what would happen, by which rule, and what is missing."""
    name = inv.asked_by_name
    rules = ", ".join(g.rule for g in decision.grants)
    if decision.effect is Verdict.ALLOW:
        return f"{name} may do this at once. Allowed by the rule {rules}."
    if decision.effect is Verdict.PENDING:
        why = "".join(" " + sentence(r.msg) for r in decision.reasons)
        return f"{name} may ask for this; it then waits for {missing(decision)}.{why} Allowed by the rule {rules}."
    return f"{name} may not do this. {what_to_do_about(decision)}"


async def commands(gate: Gate, who: Asker) -> list[CommandView]:
    """The whole catalog with what this person may do, per environment; the policy is asked for typical targets."""
    catalog, directory = gate.catalog(), gate.directory()
    views = await asyncio.gather(*(_view(gate, command, who, directory) for command in catalog.commands))
    return sorted(views, key=lambda v: (v.family, v.name))


async def _view(gate: Gate, command: Command, who: Asker, directory: Directory) -> CommandView:
    environments = directory.environments if "{" in command.target.environment else (command.target.environment,)
    best: dict[str, Verdict] = {}
    for environment in environments:
        best[environment] = await _best(gate, command, who, environment, directory)
    order = (Verdict.ALLOW, Verdict.PENDING, Verdict.DENY)
    return CommandView(
        name=command.name,
        family=command.family,
        summary=command.summary,
        effect=command.effect,
        usage=command.usage(),
        aliases=command.aliases,
        params=tuple(_param(p, directory) for p in command.params),
        examples=command.examples,
        may=min(best.values(), key=order.index, default=Verdict.DENY),
        targets=best,
    )


async def _best(gate: Gate, command: Command, who: Asker, environment: str, directory: Directory) -> Verdict:
    """The best answer over the services there: `deny` only if it is a deny for each of them."""
    services = [s.name for s in directory.services if not environment or environment in s.environments]
    order = (Verdict.ALLOW, Verdict.PENDING, Verdict.DENY)
    verdict = Verdict.DENY
    for service in services if "{" in command.target.service else [command.target.service]:
        given = {p.name: typical(p, directory, environment, service) for p in command.params if _matters(p)}
        try:
            asked = bind(command, {n: v for n, v in given.items() if v}, "", directory)
        except Mistake:
            continue
        inv = draft(gate, asked, who, ChatContext(), "")
        decision = (await gate.ask(inv, "request", who)).decision
        verdict = min(verdict, decision.effect, key=order.index)
        if verdict is Verdict.ALLOW:
            break
    return verdict


def _matters(param: Param) -> bool:
    """Only what must be given and what makes the target; the rest keeps its default."""
    return param.required or param.type in ("environment", "service")


def typical(param: Param, directory: Directory, environment: str, service: str) -> str:
    """A value that exists, as it would be typed, to ask the policy with."""
    match param.type:
        case "environment":
            return environment
        case "service":
            return service
        case "enum":
            return param.choices[0]
        case "integer":
            return str(param.min if param.min is not None else 1)
        case "duration":
            return f"{param.min or 60}s"
        case "boolean":
            return "false"
        case "person":
            return directory.people[0].id if directory.people else ""
        case "version":
            return "latest" if (entry := directory.service(service)) and entry.latest else "1.0.0"
        case _:
            return "x"


def _param(param: Param, directory: Directory) -> ParamView:
    choices = {
        "environment": directory.environments,
        "service": tuple(s.name for s in directory.services),
        "person": tuple(p.id for p in directory.people),
        "enum": param.choices,
        "boolean": ("true", "false"),
    }.get(param.type, ())
    return ParamView(
        name=param.name,
        type=param.type,
        summary=param.summary,
        required=param.required,
        default=param.default,
        choices=choices,
    )
