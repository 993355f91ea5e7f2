"""The model of a Command: data that says what can be asked, never who may. Approvals are policy, not here."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from opsgate.contracts.base import Effect

NAME = r"^[a-z][a-z0-9-]{0,31}$"
PARAM = r"^[a-z][a-z0-9_]{0,31}$"
_PLACE = re.compile(r"\{([^{}]*)\}")
ParamType = Literal[
    "string", "integer", "boolean", "enum", "duration", "version", "environment", "service", "person", "reason"
]
RESERVED = frozenset(
    {
        *("help", "why", "history", "whoami", "ops"),
        *("approvals", "approve", "reject", "withdraw", "cancel", "reviews", "review"),
        *("links", "unlink", "tokens", "delegate", "delegations", "undelegate"),
    }
)
"""Words of the conversation itself; a Command cannot take them."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Param(_Model):
    """One argument of a Command. `positional` ones are typed in the order of the file, others as `--name value`."""

    name: str = Field(pattern=PARAM, description="How it is named in `--name value` and in `inputs`.")
    type: ParamType = Field(description="What kind of value it takes.")
    summary: str = Field(default="", max_length=200, description="One line for help.")
    required: bool = Field(default=True, description="False when it may be left out.")
    positional: bool = Field(default=True, description="False when it can only be given by name.")
    default: Any = Field(default=None, description="Value when left out. `latest` of a version is resolved first.")
    pattern: str | None = Field(default=None, description="For strings: a regular expression for the whole value.")
    choices: tuple[str, ...] = Field(default=(), description="For enums: the values.")
    min: int | None = Field(default=None, description="For integers (and durations, in seconds): the least value.")
    max: int | None = Field(default=None, description="For integers (and durations, in seconds): the largest value.")
    max_length: int = Field(default=200, ge=1, le=1000, description="For strings: the most characters.")

    @model_validator(mode="after")
    def _fits_its_type(self) -> Param:
        if (self.type == "enum") != bool(self.choices):
            raise ValueError(f"param `{self.name}`: `choices` go with type enum, and an enum needs them")
        if self.pattern and self.type != "string":
            raise ValueError(f"param `{self.name}`: `pattern` goes with type string only")
        if self.pattern:
            try:
                re.compile(self.pattern)
            except re.error as error:
                raise ValueError(f"param `{self.name}`: `pattern` is no regular expression: {error}") from None
        if self.required and self.default is not None:
            raise ValueError(f"param `{self.name}`: a required param has no default; write `required: false`")
        return self


class TargetSpec(_Model):
    """Which params name the target the policy decides about, or a fixed text. Empty: no such dimension."""

    service: str = Field(default="", description="`{param}` or a fixed service name.")
    environment: str = Field(default="", description="`{param}` or a fixed environment name.")


class Command(_Model):
    """A named thing that can be asked."""

    name: str = Field(pattern=NAME, description="The word people type.")
    family: str = Field(default="", description="Heading in help.")
    summary: str = Field(max_length=200, description="One line for help, in plain words.")
    effect: Effect = Field(description="read, write or destroy. The default policy keys on it.")
    aliases: tuple[str, ...] = Field(default=(), description="Other words for the same.")
    params: tuple[Param, ...] = Field(default=(), description="Arguments, in the order they are typed.")
    target: TargetSpec = Field(default=TargetSpec(), description="What it acts on.")
    operation: str = Field(
        pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$", description="What a worker carries out: connector.operation."
    )
    inputs: dict[str, Any] = Field(description="The operation's input; `{param}` stands for a param's value.")
    timeout_s: int = Field(default=600, ge=1, le=86_400, description="Seconds until the Job is stopped.")
    lock: str = Field(default="", description="Only one Job at a time holds this name, e.g. `{environment}/{service}`.")
    irreversible: bool = Field(default=False, description="True when it cannot be undone; a fact for the policy.")
    examples: tuple[str, ...] = Field(min_length=1, description="Lines that work, shown in help and in mistakes.")

    @model_validator(mode="after")
    def _is_consistent(self) -> Command:
        names = [p.name for p in self.params]
        problems = [f"`{n}` is a word of the conversation itself" for n in (self.name, *self.aliases) if n in RESERVED]
        problems += [f"param `{n}` stands twice" for n in sorted({n for n in names if names.count(n) > 1})]
        for name in sorted({"reason", "ticket", "break_glass"} & set(names)):
            problems.append(f"`{name}` is an option of every command already; remove the param")
        for text in (self.target.service, self.target.environment, self.lock, *self.inputs.values()):
            problems += [f"`{{{n}}}` is not a param" for n in placeholders(text) if n not in names]
        seen_optional = False
        for param in (p for p in self.params if p.positional):
            if param.required and seen_optional:
                problems.append(f"required param `{param.name}` comes after an optional one")
            seen_optional = seen_optional or not param.required
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def idempotent(self) -> bool:
        return self.effect is Effect.READ

    def usage(self) -> str:
        """`deploy ENVIRONMENT SERVICE [--version VERSION] [--reason TEXT]`"""
        parts = [self.name]
        for param in self.params:
            word = param.name.upper() if param.positional else f"--{param.name} {param.name.upper()}"
            parts.append(word if param.required else f"[{word}]")
        return " ".join(parts)


class CommandFile(_Model):
    """One YAML file under commands/: a family of Commands."""

    family: str = Field(description="Heading in help for all commands of this file.")
    commands: tuple[Command, ...] = Field(min_length=1)


class Catalog(_Model):
    """All Commands, by name and alias."""

    commands: tuple[Command, ...]

    def find(self, word: str) -> Command | None:
        return next((c for c in self.commands if word == c.name or word in c.aliases), None)

    def words(self) -> tuple[str, ...]:
        return tuple(w for c in self.commands for w in (c.name, *c.aliases))


def placeholders(template: Any) -> list[str]:
    """Names in `{name}` of a template; none when it is not text."""
    return _PLACE.findall(template) if isinstance(template, str) else []


def fill(template: Any, args: dict[str, Any]) -> Any:
    """A template with its values. `{x}` alone keeps the value's type; inside a longer text it becomes text."""
    names = placeholders(template)
    if not names:
        return template
    if template == "{" + names[0] + "}":
        return args.get(names[0])

    def value(match: re.Match[str]) -> str:
        found = args.get(match[1])
        return "" if found is None else str(found)

    return _PLACE.sub(value, template)  # one pass: a value that looks like a placeholder stays as it is
