"""The catalog as others see it: for help, autocompletion and generated menus."""

from __future__ import annotations

from typing import Any, Literal

from opsgate.contracts.base import Contract, Effect
from opsgate.contracts.decisions import Decision, Verdict

ParamType = Literal[
    "string", "integer", "boolean", "enum", "duration", "version", "environment", "service", "person", "reason"
]


class ParamView(Contract):
    """One argument. `choices`: the values that exist now (services, environments, enum members)."""

    name: str
    type: ParamType
    summary: str
    required: bool
    default: Any = None
    choices: tuple[str, ...] = ()


class CommandView(Contract):
    """A Command and what the asker may do with it: `allow`, `pending` (with approval), `deny`.

    Who may do nothing at all is shown no Command; who may do something is shown the others too, as `deny`.
    `may` is the best answer over the command's targets; `targets` gives it per environment.
    """

    name: str
    family: str
    summary: str
    effect: Effect
    usage: str
    aliases: tuple[str, ...]
    params: tuple[ParamView, ...]
    examples: tuple[str, ...]
    may: Verdict
    targets: dict[str, Verdict]


class AskDecision(Contract):
    """Body of `POST /v1/decisions`: what would be decided, running nothing. `as_person`: for somebody else."""

    text: str
    as_person: str | None = None


class WhatIf(Contract):
    """The answer to AskDecision: the canonical command line that was decided, for whom, and the Decision.

    Of a denial: `hint` says what would pass instead, and which groups could do it; `would_pass` are such lines as they
    are typed, the best first.
    """

    text: str
    person: str
    decision: Decision
    explanation: str
    hint: str = ""
    would_pass: tuple[str, ...] = ()


class WhoAmI(Contract):
    id: str
    name: str
    kind: str
    groups: tuple[str, ...]
    assurance: str
    tenant: str
