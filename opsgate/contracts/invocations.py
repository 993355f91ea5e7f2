"""One asking of a Command, from text to outcome: what callers send and what they get back."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar

from pydantic import Field

from opsgate.contracts.base import Assurance, Contract, Effect, JsonObject, PrincipalKind, Sha256, Timestamp
from opsgate.contracts.decisions import Decision
from opsgate.contracts.messages import Card, Progress

T = TypeVar("T")
MAX_TEXT = 4096
"""Characters of a command line (4 KiB); a longer one is refused."""


class State(StrEnum):
    """Where an Invocation is. The transitions are a table in `gateway.domain.lifecycle`."""

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DENIED = "denied"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


class ChatContext(Contract):
    """Where it was said. All empty for a REST client outside any chat."""

    channel: str = Field(default="", max_length=200)
    channel_kind: Literal["public", "private", "dm", "none"] = "none"
    thread: str = Field(default="", max_length=200)


class Evidence(Contract):
    """What an adapter presents instead of a person's own token: the platform's raw signed request.

    `body` is the request body byte for byte (UTF-8), `headers` the signature headers in lower case.
    """

    platform: Literal["slack"]
    body: str = Field(max_length=200_000)
    headers: dict[str, str] = Field(max_length=8)


class SubmitInvocation(Contract):
    """Body of `POST /v1/invocations`: a command line as text, or a command with its arguments; never both.

    `ticket`: id of a change ticket. `break_glass`: id of the incident for which approvals and freezes are passed by.
    """

    text: str | None = Field(default=None, max_length=MAX_TEXT)
    command: str | None = Field(default=None, max_length=64)
    args: dict[str, Any] = Field(default_factory=dict, max_length=64)
    reason: str = Field(default="", max_length=1000)
    ticket: str = Field(default="", max_length=64)
    break_glass: str = Field(default="", max_length=64)
    context: ChatContext = ChatContext()
    evidence: Evidence | None = None


class SendMessage(Contract):
    """Body of `POST /v1/messages`: what a person typed in a chat, with or without the leading `/ops`."""

    text: str = Field(max_length=MAX_TEXT)
    context: ChatContext = ChatContext()
    evidence: Evidence | None = None


class CastVote(Contract):
    """Body of `POST /v1/invocations/{id}/votes`. `binding_hash` is the one the voter's card displayed.

    `withdraw` takes back one's own vote, until the Job is claimed. `on_behalf_of`: who delegated to the voter.
    """

    verdict: Literal["approve", "reject", "withdraw"]
    binding_hash: Sha256
    reason: str = Field(default="", max_length=1000)
    on_behalf_of: str | None = Field(default=None, max_length=63)
    evidence: Evidence | None = None


class CancelInvocation(Contract):
    """Body of `POST /v1/invocations/{id}/cancel`."""

    reason: str = Field(default="", max_length=1000)
    evidence: Evidence | None = None


class Person(Contract):
    """Who, as shown to others: the person's id and name, never an address."""

    id: str
    name: str
    kind: PrincipalKind


class Target(Contract):
    service: str
    environment: str


class VoteView(Contract):
    """`counts`: whether the policy let this vote fill a place at its last decision."""

    by: Person
    on_behalf_of: Person | None
    verdict: Literal["approve", "reject"]
    at: Timestamp
    expires_at: Timestamp
    platform: str
    assurance: Assurance
    reason: str
    counts: bool


class Outcome(Contract):
    """How it ended: a sentence, and facts named by the operation (version, replicas, ...)."""

    summary: str
    facts: JsonObject = Field(default_factory=dict)


class JobView(Contract):
    """The work itself. `fence` rises with every claim. Durations are in seconds."""

    queued_at: Timestamp
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    duration_s: float | None = None
    worker: str = ""
    fence: int = 0
    waiting_for_worker: bool = False
    cancel_requested: bool = False
    progress: Progress | None = None


class InvocationView(Contract):
    """An Invocation as the API answers it. `version` rises with every change; `card` is the one message of it.

    `ticket`: the change ticket given, or "". `break_glass`: the incident for which the glass was broken, or "".

    `visibility` is `private` when only the asker should see it (a denial), otherwise `channel`.
    `hint`: after a denial what would have passed instead, and which groups could do it; "" for nothing.
    """

    id: str
    state: State
    version: int
    text: str
    command: str
    effect: Effect
    args: JsonObject
    target: Target
    reason: str
    ticket: str
    break_glass: str
    requested_by: Person
    platform: str
    context: ChatContext
    visibility: Literal["private", "channel"]
    created_at: Timestamp
    updated_at: Timestamp
    expires_at: Timestamp | None
    binding_hash: Sha256
    decision: Decision
    votes: tuple[VoteView, ...]
    job: JobView | None
    outcome: Outcome | None
    hint: str = ""
    trace_id: str
    card: Card


class Answer(Contract):
    """What `POST /v1/messages` and the vote and cancel calls give back. `private`: only the asker should see `card`."""

    kind: Literal["invocation", "help", "explanation", "history", "identity", "mistake", "refusal"]
    private: bool
    card: Card
    invocation: InvocationView | None = None


class LogLine(Contract):
    """One line of a Job's output, redacted before it left the worker. `seq` rises by one within an Invocation."""

    seq: int
    at: Timestamp
    text: str


class Page(Contract, Generic[T]):
    """A page of a list, newest first. `next` is the cursor of the following page, or null at the end."""

    items: tuple[T, ...]
    next: str | None
