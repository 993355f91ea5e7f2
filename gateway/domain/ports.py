"""What flows need from the outside, as protocols. The real ones stand in `gateway.infra`; unit tests put fakes here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.domain.audit_chain import Entry
from gateway.domain.deciding import PolicyResult
from gateway.domain.invocation import Invocation
from gateway.domain.people import Code, Credential, Delegation, Link, People, Review, Write
from opsgate.contracts.audit import AuditRecord
from opsgate.contracts.base import Assurance
from opsgate.contracts.invocations import ChatContext, Evidence
from opsgate.contracts.jobs import OperationOffer
from opsgate.contracts.policy import Freeze, PolicyInput, Recent, Ticket


@dataclass(frozen=True)
class Once:
    """An idempotency key with its answer: stored in the same transaction as what it answers for.

    `scope`: caller and route. `fingerprint`: digest of the body. `status`, `answer`: what is given again.
    """

    scope: str
    key: str
    fingerprint: str
    status: int
    answer: str


@dataclass(frozen=True)
class DecisionRecord:
    """A Decision with its input, kept for replay."""

    id: str
    invocation_id: str
    at_ns: int
    input: dict[str, Any]
    result: dict[str, Any]
    revision: str
    duration_us: int


@dataclass(frozen=True)
class Notice:
    """Something everybody in a channel of a platform should read; both "": wherever somebody follows."""

    platform: str
    channel: str
    text: str


@dataclass(frozen=True)
class FactRow:
    """What the store knows about the target and the asker at one moment. `people`: the version of the snapshot."""

    freezes: tuple[Freeze, ...]
    recent: Recent
    people: int


@dataclass(frozen=True)
class Change:
    """What is written together or not at all. Without `invocation` only the rest is written.

    `expected`: the version that must be in the store (None: the Invocation is new). `wake_ns`: when to wake a worker.
    `take`, `free`: names that the Invocation holds alone from now on, or no more. `people`: writes about people.
    `notice`: a line for everybody who follows the channel. `also`: another Change of the same moment.
    """

    entries: tuple[Entry, ...]
    invocation: Invocation | None = None
    expected: int | None = None
    decisions: tuple[DecisionRecord, ...] = ()
    wake_ns: int | None = None
    lines: tuple[str, ...] = ()
    once: Once | None = None
    take: tuple[str, ...] = ()
    free: tuple[str, ...] = ()
    freeze: Freeze | None = None
    lift: str | None = None
    people: tuple[Write, ...] = ()
    notice: Notice | None = None
    also: Change | None = None


@dataclass(frozen=True)
class Query:
    """Which Invocations to list, newest first. `viewer`: their own private ones too; None: everything."""

    viewer: str | None
    limit: int = 50
    before: tuple[int, str] | None = None
    state: str | None = None
    service: str | None = None
    channel: str | None = None
    asked_by: str | None = None


@dataclass(frozen=True)
class Wake:
    """A row of the outbox."""

    id: int
    job: str
    binding_hash: str
    traceparent: str = ""


@dataclass(frozen=True)
class LogRow:
    seq: int
    at_ns: int
    text: str


@dataclass(frozen=True)
class EventRow:
    """A feed event as stored: which Invocation (as it is now), which lines were added to it, or a notice."""

    id: int
    at_ns: int
    type: str
    invocation: Invocation | None
    lines: tuple[LogRow, ...] = ()
    notice: Notice | None = None


@dataclass(frozen=True)
class FeedFilter:
    """Who follows what. `sees_all`: private answers of others too."""

    viewer: str
    sees_all: bool = False
    channel: str | None = None
    invocation: str | None = None


class Store(Protocol):
    """The one durable store. Every method raises Unavailable when it is gone or full; nothing is half-written."""

    async def apply(self, change: Change) -> None:
        """Raises Conflict, KeyTaken, LockHeld, CodeUsed, AlreadyLinked. Returns after the data is on disk."""

    async def invocation(self, invocation_id: str) -> Invocation | None: ...
    async def invocations(self, query: Query) -> list[Invocation]: ...
    async def once(self, scope: str, key: str) -> Once | None: ...
    async def lines(self, invocation_id: str, after: int, limit: int) -> list[LogRow]: ...
    async def audit(self, writer: str | None, after: tuple[str, int], limit: int) -> list[AuditRecord]: ...
    async def facts(self, about: Sequence[Invocation], now_ns: int) -> list[FactRow]:
        """For each: freezes in force on the target, and what happened there recently."""

    async def people(self) -> People: ...
    async def people_version(self) -> int:
        """Of the snapshot: it rises with every change of it."""

    async def links(self, person: str) -> list[Link]: ...
    async def delegations(self, person: str, limit: int) -> list[Delegation]:
        """Given or taken by this person, in force or not, newest first."""

    async def credential(self, digest: str) -> Credential | None: ...
    async def credentials(self, accounts: Sequence[str]) -> list[Credential]: ...
    async def code(self, digest: str) -> Code | None:
        """A one-time code, used or not; UseCode uses it."""

    async def forget(self, codes_ns: int, sessions_ns: int, most: int) -> None:
        """Takes away codes, and sign-ins of browsers and terminals, that ended before; at most so many of each."""

    async def reviews(self, open_only: bool, limit: int) -> list[Review]: ...
    async def waiting(self, limit: int) -> list[Invocation]:
        """All that wait for approval, oldest first."""

    async def voted(self, person: str, before: tuple[int, str] | None, limit: int) -> list[Invocation]:
        """Where this person voted of late, newest first."""

    async def due(self, now_ns: int, hold_ns: int, limit: int) -> list[Wake]: ...
    async def published(self, ids: Sequence[int]) -> None: ...
    async def unsent(self, jobs: Sequence[str]) -> set[str]:
        """Which of these Jobs still have a wake-up that was not published."""

    async def overdue(self, now_ns: int, limit: int) -> list[Invocation]:
        """Pending ones past their expiry, running ones with a dead lease, queued ones that nobody claimed."""

    async def announce(self, worker: str, offers: Sequence[OperationOffer], now_ns: int) -> None: ...
    async def offers(self) -> dict[str, tuple[OperationOffer, int]]:
        """Every operation ever offered, with the unix ns it was last seen."""

    async def events(self, after: int, limit: int) -> list[EventRow]: ...
    async def last_event(self) -> int: ...
    async def alive(self) -> None: ...


class Sink(Protocol):
    """A second place for audit records. Raises OSError when it cannot take them; it is given the same ones again."""

    def write(self, records: list[AuditRecord]) -> None: ...


class Policy(Protocol):
    """The policy engine. Never raises: no answer is a PolicyResult with a failure."""

    @property
    def revision(self) -> str: ...

    async def decide(self, document: PolicyInput) -> PolicyResult: ...
    async def decide_all(self, documents: Sequence[PolicyInput]) -> list[PolicyResult]:
        """One question for many documents, answers in their order; for help and hints, never for what runs."""


class Dispatcher(Protocol):
    """Wakes a worker. Raises Unavailable when the broker is gone."""

    async def wake(self, job: str, ticket: str, traceparent: str) -> None: ...
    async def alive(self) -> None: ...


class Tickets(Protocol):
    """Signs and checks the ticket a worker must show to claim a Job."""

    def issue(self, job: str, binding_hash: str, now_ns: int) -> str: ...
    def check(self, ticket: str, job: str, binding_hash: str) -> bool: ...


@dataclass(frozen=True)
class Claims:
    """A token that holds: the subject it names, how well that is known, and who acts for them, nearest first."""

    subject: str
    assurance: Assurance
    method: str
    actors: tuple[str, ...] = ()
    mfa_at_ns: int = 0


class Tokens(Protocol):
    """Checks a person's bearer token. Raises Refused with `unauthenticated`."""

    async def verify(self, token: str) -> Claims: ...


@dataclass(frozen=True)
class Proven:
    """What an adapter's evidence proves: who said what, where. `key`: one delivery, whoever sends it again.

    Either `text` (a command line) or `action` (approve, reject or cancel; invocation; hash shown) is set.
    """

    identity: str
    workspace: str
    app_id: str
    context: ChatContext
    key: str
    text: str | None = None
    action: tuple[str, str, str] | None = None


class EvidenceCheck(Protocol):
    """Verifies a platform's signature over the raw request. Raises Refused with `unproven_actor`."""

    def verify(self, evidence: Evidence, now_ns: int) -> Proven: ...


class Tracker(Protocol):
    """Where change tickets are kept. Never raises: a ticket that cannot be looked up is not verified."""

    async def find(self, ticket: str, now_ns: int) -> Ticket: ...


class Limits(Protocol):
    """Counts what a person does. Degrades open (the gate does not hang on it) and says so in readiness."""

    async def take(self, subject: str) -> int:
        """0, or seconds to wait."""


class Bus(Protocol):
    """Tells the other gateways that there is something new in the store. Losing a word costs a second, no event."""

    async def ring(self) -> None: ...
    async def wait(self, timeout_s: float) -> None: ...


class Clock(Protocol):
    def now_ns(self) -> int: ...


@dataclass
class SystemState:
    """What is wrong at the moment, by part; empty when all is well. Shown by readiness and the console."""

    problems: dict[str, str] = field(default_factory=dict)
