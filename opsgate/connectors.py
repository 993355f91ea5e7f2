"""What a connector author writes: typed Operations over one outside system.

An Operation never loops or sleeps: the runner calls `follow` again when the gateway says it is time, so that nothing
holds a worker for the length of a rollout, and a worker that dies is picked up by another from the stored handle.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel

Handle = dict[str, Any]
"""What is needed to find the work again (a run id, a URL). Plain JSON, no secret; the gateway stores it."""

Input = TypeVar("Input", bound=BaseModel)


@dataclass(frozen=True)
class Run:
    """What an Operation gets for one call.

    `correlation_id`: the Invocation's id; goes into every outside system, so that `probe` can find it.
    `remaining_s`: seconds until the Job's deadline. `log`: one line of output for the team.
    """

    correlation_id: str
    remaining_s: float
    log: Callable[[str], None]


@dataclass(frozen=True)
class Progressing:
    """Not done: look again in `after_s` seconds (0.2 to 300). `percent`: 0-100 or None."""

    text: str
    percent: int | None = None
    after_s: float = 2.0


@dataclass(frozen=True)
class Succeeded:
    """`facts`: what else is known, as JSON. A list of lines under `output` is shown below the summary."""

    summary: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """It ended without the wanted effect, for sure. `summary` says what happened and what to do."""

    summary: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cancelled:
    summary: str
    facts: dict[str, Any] = field(default_factory=dict)


Result = Progressing | Succeeded | Failed | Cancelled


class ConnectorError(Exception):
    """The outside system refused for sure and nothing was changed; the text is for people."""


class OutsideUnreachable(ConnectorError):
    """No answer, so the effect is not known. The runner retries `probe` and `follow`; never a blind second `start`."""


class Operation(ABC, Generic[Input]):
    """One thing an outside system can do. `idempotent`: starting it twice has the effect of once."""

    name: ClassVar[str]
    summary: ClassVar[str]
    idempotent: ClassVar[bool]
    input: type[Input]

    @abstractmethod
    def probe(self, run: Run, input: Input) -> Handle | None:
        """The handle of work already started under this correlation id, or None if certainly nothing was."""

    @abstractmethod
    def start(self, run: Run, input: Input) -> Handle:
        """Begin, at most 30 s. Raises ConnectorError when refused, OutsideUnreachable when nobody knows."""

    @abstractmethod
    def follow(self, run: Run, input: Input, handle: Handle) -> Result:
        """Look once, at most 20 s. May change `handle`: it is stored with each `Progressing`."""

    @abstractmethod
    def cancel(self, run: Run, input: Input, handle: Handle) -> Result:
        """Ask it to stop; Progressing while it is stopping. A success that came first stays Succeeded."""


class Connector(ABC):
    """One outside system: its operations, made from its settings.

    The class is called with the worker's environment (a mapping of names to texts) and raises ValueError, with what to
    do, for settings that are missing or wrong.
    """

    name: ClassVar[str]

    @abstractmethod
    def operations(self) -> tuple[Operation[Any], ...]:
        """All operations of this system; names start with the connector's name and a dot."""
