"""What would be decided, and what somebody may do: help, autocompletion, `why`. Asks the policy, runs nothing."""

from __future__ import annotations

from gateway.domain.arguments import Options, bind
from gateway.domain.catalog import Command, Param
from gateway.domain.directory import Asker, Directory
from gateway.domain.errors import Mistake, Refused
from gateway.domain.invocation import Invocation
from gateway.domain.words import missing, sentence, what_to_do_about
from gateway.flows.drafting import Ask, draft, understand
from gateway.flows.gate import Gate
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
        other = gate.folk.person(as_person)
        if SECURITY not in who.principal.groups or other is None:
            raise Refused(Code.FORBIDDEN, 403, "Only members of security may ask what others may do.")
        subject = who.model_copy(update={"principal": other})
    asked = understand(gate, Ask(text, None, {}, Options(), ChatContext()))
    inv = draft(gate, asked, subject, ChatContext(), "")
    decision = (await gate.ask(inv, "request")).decision
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
    """The whole catalog with what this person may do, per environment: one question to the policy for all of it."""
    catalog, directory = gate.catalog(), gate.directory
    tried = [(c, e, _drafts(gate, c, who, e, directory)) for c in catalog.commands for e in _places(c, directory)]
    decisions = iter(await gate.ask_all([inv for _, _, drafts in tried for inv in drafts]))
    best: dict[str, dict[str, Verdict]] = {c.name: {} for c in catalog.commands}
    for command, environment, drafts in tried:
        found = [next(decisions).effect for _ in drafts]
        best[command.name][environment] = min(found, key=_ORDER.index, default=Verdict.DENY)
    views = [_view(command, best[command.name], directory) for command in catalog.commands]
    return sorted(views, key=lambda v: (v.family, v.name))


_ORDER = (Verdict.ALLOW, Verdict.PENDING, Verdict.DENY)
SAMPLES = 6
"""Services a command is tried on in each environment: those that differ in team, owners or labels, one's own first."""


def _places(command: Command, directory: Directory) -> tuple[str, ...]:
    return directory.environments if "{" in command.target.environment else (command.target.environment,)


def _drafts(gate: Gate, command: Command, who: Asker, environment: str, directory: Directory) -> list[Invocation]:
    """The Command on typical targets there."""
    made = []
    for service in _samples(command, who, environment, directory):
        given = {p.name: typical(p, directory, environment, service) for p in command.params if _matters(p)}
        try:
            asked = bind(command, {n: v for n, v in given.items() if v}, Options(), directory)
        except Mistake:
            continue
        made.append(draft(gate, asked, who, ChatContext(), ""))
    return made


def _samples(command: Command, who: Asker, environment: str, directory: Directory) -> list[str]:
    if "{" not in command.target.service:
        return [command.target.service]
    kinds: dict[str, str] = {}
    for entry in directory.services:
        if not environment or environment in entry.environments:
            kinds.setdefault(repr((entry.team, entry.owners, sorted(entry.labels.items()))), entry.name)
    mine = set(who.principal.groups)
    teams = {s.name: s.team for s in directory.services}
    return sorted(kinds.values(), key=lambda name: (teams[name] not in mine, name))[:SAMPLES]


def _view(command: Command, best: dict[str, Verdict], directory: Directory) -> CommandView:
    return CommandView(
        name=command.name,
        family=command.family,
        summary=command.summary,
        effect=command.effect,
        usage=command.usage(),
        aliases=command.aliases,
        params=tuple(_param(p, directory) for p in command.params),
        examples=command.examples,
        may=min(best.values(), key=_ORDER.index, default=Verdict.DENY),
        targets=best,
    )


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
