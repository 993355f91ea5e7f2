"""The record of one Invocation as the store keeps it, and its view for others. One document, one version number."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from opsgate.contracts.base import Assurance, Effect, PrincipalKind
from opsgate.contracts.decisions import Decision
from opsgate.contracts.invocations import ChatContext, Outcome, State
from opsgate.contracts.messages import Progress

NS = 1_000_000_000


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Vote(_Model):
    """One person's yes or no, with the groups they had and what they had on their screen. Times in unix ns.

    `for_id`, `for_name`: the person in whose place they voted, when that was delegated to them.
    """

    id: str
    by: str
    name: str
    kind: PrincipalKind
    groups: tuple[str, ...]
    verdict: Literal["approve", "reject"]
    at_ns: int
    expires_ns: int
    platform: str
    assurance: Assurance
    reason: str
    binding_hash: str
    policy_revision: str
    requirement_digest: str
    for_id: str = ""
    for_name: str = ""


class Job(_Model):
    """The work of an allowed Invocation. `lease_until_ns` is by the gateway's clock only.

    `start_by_ns`: it must be claimed before (an approval runs out, broken glass is time-boxed); 0: no such limit.
    """

    queued_ns: int
    due_ns: int
    start_by_ns: int = 0
    started_ns: int = 0
    finished_ns: int = 0
    deadline_ns: int = 0
    fence: int = 0
    lease_until_ns: int = 0
    worker: str = ""
    handle: dict[str, Any] | None = None
    cancel_requested_by: str = ""
    waiting_for: Literal["", "worker", "broker"] = ""
    progress: Progress | None = None


class Invocation(_Model):
    """One asking of a Command. Operation and input are exactly what the worker gets; the binding hash covers them.

    `incident`: the glass is broken for it. `touches`: the resolved targets in words, for whoever approves.
    `hint`: what helps on after a denial, in words; `would_pass`: lines that would not have been denied, the best first.
    """

    id: str
    tenant: str
    version: int
    state: State
    text: str
    command: str
    effect: Effect
    args: dict[str, Any]
    spelled: dict[str, str]
    service: str
    environment: str
    operation: str
    input: dict[str, Any]
    lock: str
    timeout_s: int
    irreversible: bool
    idempotent: bool
    reason: str
    ticket: str = ""
    incident: str = ""
    touches: str = ""
    asked_by: str
    asked_by_name: str
    asked_by_kind: PrincipalKind
    actors: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    assurance: Assurance
    mfa_at_ns: int = 0
    method: str
    adapter: str
    platform: str
    context: ChatContext
    created_ns: int
    updated_ns: int
    expires_ns: int
    binding_hash: str
    requirement_digest: str
    decision: Decision
    votes: tuple[Vote, ...] = ()
    job: Job | None = None
    outcome: Outcome | None = None
    hint: str = ""
    would_pass: tuple[str, ...] = ()
    log_lines: int = 0
    ended_by: str = ""
    traceparent: str = ""

    def changed(self, now_ns: int, **fields: Any) -> Invocation:
        """A copy with the next version number."""
        return self.model_copy(update={**fields, "version": self.version + 1, "updated_ns": now_ns})

    @property
    def private(self) -> bool:
        """A denial at once is for the asker's eyes: nobody is shamed in the channel. The audit log has it."""
        return self.state is State.DENIED and self.version == 1

    def job_changed(self, **fields: Any) -> Job:
        if self.job is None:
            raise RuntimeError(f"{self.id} has no job in state {self.state}")
        return self.job.model_copy(update=fields)


def when(ns: int) -> datetime:
    """Unix ns as an aware UTC time with microseconds."""
    return datetime.fromtimestamp(ns // 1000 / 1_000_000, UTC)
