"""What would be decided, and what somebody may do: help, autocompletion, `why`. Asks the policy, runs nothing."""

from __future__ import annotations

from gateway.domain.arguments import Asked, Options, bind
from gateway.domain.catalog import Catalog, Command, Param, fill
from gateway.domain.directory import GATEWAY, Asker, Directory
from gateway.domain.errors import Mistake, Refused, Unavailable
from gateway.domain.invocation import NS, Invocation
from gateway.domain.words import missing, sentence, what_to_do_about
from gateway.flows import teach
from gateway.flows.drafting import Ask, draft, understand
from gateway.flows.gate import Gate, unhurried
from opsgate.contracts.commands import CommandView, ParamView, WhatIf
from opsgate.contracts.decisions import Decision, NextAction, Verdict
from opsgate.contracts.invocations import ChatContext
from opsgate.contracts.problems import Code

SECURITY = teach.SECURITY
"""The group whose members may ask for others and read the audit log."""
NOT_YOURS = (
    "You may ask what you yourself may do; for others, members of security and the owners of the service may, "
    "and only of people who are known here. Leave the person out, or ask security."
)
KEPT_NS = 5 * NS
"""How long the answer to `help` is given again to the same person, so that completion is quick."""


async def what_if(gate: Gate, text: str, who: Asker, as_person: str | None) -> WhatIf:
    """What the policy would say to this line now. Raises Mistake, and Refused when another is not theirs to ask."""
    asked = understand(gate, Ask(text, None, {}, Options(), ChatContext()))
    subject = _subject(gate, asked, who, as_person)
    inv = draft(gate, asked, subject, ChatContext(), "")
    decision = (await gate.ask(inv, "request")).decision
    hint = await teach.hint(gate, inv, decision)
    return WhatIf(
        text=inv.text,
        person=subject.id,
        decision=decision,
        explanation=explanation(inv, decision),
        hint=hint.text,
        would_pass=hint.lines,
    )


def _subject(gate: Gate, asked: Asked, who: Asker, as_person: str | None) -> Asker:
    """Oneself, or another for security and for owners of the service. Whether that one exists shows only to those."""
    if not as_person or as_person == who.id:
        return who
    service = gate.directory.service(str(fill(asked.command.target.service, asked.args) or ""))
    entitled = {SECURITY, *(service.owners if service else ())} & set(who.principal.groups)
    other = gate.folk.person(as_person) if entitled and as_person != GATEWAY else None
    if other is None:
        raise Refused(Code.FORBIDDEN, 403, NOT_YOURS)
    # What a token says of its own carrier says nothing of another.
    return who.model_copy(update={"principal": other, "actors": (), "scopes": (), "mfa_at_ns": 0})


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


async def commands(gate: Gate, who: Asker) -> tuple[CommandView, ...]:
    """The catalog with what this person may do, per environment; nothing for whoever may do nothing.

    All of it goes to the policy at once, and the answer is kept for KEPT_NS. Raises Unavailable when there is none.
    """
    catalog, directory, now_ns = gate.catalog(), gate.directory, gate.clock.now_ns()
    key = ("commands", who.model_copy(update={"source_ip": None}), gate.policy.revision)
    made_from = (catalog, directory.people, directory.services, directory.environments)
    found: tuple[CommandView, ...] | None = gate.kept.get(key, made_from, now_ns)
    if found is not None:
        return found
    async with gate.kept.turns:
        found = gate.kept.get(key, made_from, now_ns)  # somebody else may have asked the same meanwhile
        if found is None:
            found = await _commands(gate, catalog, directory, who)
            gate.kept.put((*key[:2], gate.policy.revision), made_from, now_ns + KEPT_NS, found)
    return found


async def _commands(gate: Gate, catalog: Catalog, directory: Directory, who: Asker) -> tuple[CommandView, ...]:
    """Every Command in every environment at once; where that is not allowed, once more on another kind of target."""
    places = [(c, e) for c in catalog.commands for e in _places(c, directory)]
    services = {e: _samples(who, e, directory) for e in {e for _, e in places}}
    best = {(c.name, e): Verdict.DENY for c, e in places}
    spent = 0
    for turn in range(SAMPLES):
        drafts: list[tuple[tuple[str, str], Invocation]] = []
        async for command, e in unhurried([(c, e) for c, e in places if best[c.name, e] is not Verdict.ALLOW]):
            inv = _draft(gate, command, who, (e, services[e]), turn)
            drafts += [((command.name, e), inv)] if inv else []
        for start in range(0, len(drafts), AT_ONCE):
            part = drafts[start : start + AT_ONCE]
            for (place, _), decision in zip(part, await _answers(gate, [inv for _, inv in part]), strict=True):
                best[place] = min(best[place], decision.effect, key=_ORDER.index)
        spent += len(drafts)
        if not drafts or spent > SPEND:
            break
    if all(v is Verdict.DENY for v in best.values()):
        return ()
    values = _existing(directory)
    views = [_view(c, {e: best[c.name, e] for e in _places(c, directory)}, values) for c in catalog.commands]
    return tuple(sorted(views, key=lambda v: (v.family, v.name)))


async def _answers(gate: Gate, invs: list[Invocation]) -> list[Decision]:
    answers = await gate.ask_all(invs)
    if all(d.next_action is NextAction.RETRY and d.reasons[0].code in NO_ANSWER for d in answers):
        raise Unavailable(Code.POLICY_UNAVAILABLE, answers[0].reasons[0].msg)
    return answers


Values = dict[str, tuple[str, ...]]
_ORDER = (Verdict.ALLOW, Verdict.PENDING, Verdict.DENY)
SAMPLES = 6
"""Services a command is tried on in each environment: those that differ in team, owners or labels, one's own first."""
AT_ONCE = 500
"""Questions in one POST, at most: 200 commands in two environments, with time to spare on a busy machine."""
SPEND = 2000
"""After so many questions a large catalog is not tried on further kinds of services."""
NO_ANSWER = frozenset({"policy_unreachable", "policy_timeout", "policy_error", "policy_undefined"})


def _places(command: Command, directory: Directory) -> tuple[str, ...]:
    return directory.environments if "{" in command.target.environment else (command.target.environment,)


def _draft(gate: Gate, command: Command, who: Asker, where: tuple[str, list[str]], turn: int) -> Invocation | None:
    """The Command on the typical target whose turn it is; None when there is none left."""
    environment, services = where
    services = services if "{" in command.target.service else [command.target.service]
    if turn >= len(services):
        return None
    directory = gate.directory
    given = {p.name: typical(p, directory, environment, services[turn]) for p in command.params if _matters(p)}
    try:
        asked = bind(command, {n: v for n, v in given.items() if v}, Options(), directory)
    except Mistake:
        return None
    return draft(gate, asked, who, ChatContext(), "")


def _samples(who: Asker, environment: str, directory: Directory) -> list[str]:
    kinds: dict[str, str] = {}
    for entry in directory.services:
        if not environment or environment in entry.environments:
            kinds.setdefault(repr((entry.team, entry.owners, sorted(entry.labels.items()))), entry.name)
    mine = set(who.principal.groups)
    teams = {s.name: s.team for s in directory.services}
    return sorted(kinds.values(), key=lambda name: (teams[name] not in mine, name))[:SAMPLES]


def _view(command: Command, best: dict[str, Verdict], values: Values) -> CommandView:
    return CommandView(
        name=command.name,
        family=command.family,
        summary=command.summary,
        effect=command.effect,
        usage=command.usage(),
        aliases=command.aliases,
        params=tuple(_param(p, values) for p in command.params),
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


def _existing(directory: Directory) -> Values:
    """The values that exist now, by the type of the param that takes them."""
    return {
        "environment": directory.environments,
        "service": tuple(s.name for s in directory.services),
        "person": tuple(p.id for p in directory.people),
        "boolean": ("true", "false"),
    }


def _param(param: Param, values: Values) -> ParamView:
    return ParamView(
        name=param.name,
        type=param.type,
        summary=param.summary,
        required=param.required,
        default=param.default,
        choices=values.get(param.type, param.choices),
    )
