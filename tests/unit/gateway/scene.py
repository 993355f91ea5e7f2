"""A gate to play on: the real store and real tickets; the policy, the broker and the clock do what the test says."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from gateway.domain.arguments import Options
from gateway.domain.deciding import PolicyResult, askers
from gateway.domain.directory import Asker, Directory
from gateway.domain.invocation import NS, Invocation
from gateway.domain.quorum import count_met
from gateway.flows.claim import claim
from gateway.flows.drafting import Ask
from gateway.flows.folk import Folk
from gateway.flows.gate import Gate
from gateway.flows.relay import relay
from gateway.flows.report import progress, report
from gateway.flows.submit import submit
from gateway.flows.vote import Ballot, vote
from gateway.infra.files import load_catalog, load_directory
from gateway.infra.jwt import KeyRing
from gateway.infra.store import migrate
from gateway.infra.store.store import SqlStore
from gateway.infra.tickets import FileTracker
from gateway.settings import ROOT
from opsgate.contracts.base import Assurance
from opsgate.contracts.decisions import PolicyAnswer, Reason, Requirement
from opsgate.contracts.invocations import Answer, ChatContext, State
from opsgate.contracts.jobs import ClaimAnswer, ClaimJob, JobProgress, JobReport, WakeUp
from opsgate.contracts.policy import PolicyInput

CATALOG = load_catalog(ROOT / "commands")
DIRECTORY = load_directory(ROOT / "examples" / "acme" / "directory.yaml")
KEY = ec.generate_private_key(ec.SECP256R1())
LINE = "deploy production api-service --version 1.4.2"
OWNERS, SECURITY = "owners:api-service", "security"
MINUTE = 60 * NS
Rule = Callable[[PolicyInput], dict[str, Any]]


class Clock:
    """Nanoseconds that pass only when the test says so."""

    def __init__(self) -> None:
        self.now = time.time_ns() - 6 * 3600 * NS  # in the past: a ticket of the future is none

    def now_ns(self) -> int:
        return self.now


def needs(*groups: str, ttl_s: int = 3600) -> Rule:
    """A policy that asks for one yes of each of these groups, by the roles of the moment."""

    def rule(asked: PolicyInput) -> dict[str, Any]:
        wanted = [Requirement(id=g, groups=(g,), quorum=1, ttl_s=ttl_s) for g in groups]
        have = count_met(wanted, asked.approvals, askers(asked.subject), asked.now.unix_ns, asked.request.hash)
        unmet = [r.id for r in wanted if not have[r.id]]
        return {"effect": "pending" if unmet else "allow", "require": wanted, "unmet": unmet}

    return rule


def denies(asked: PolicyInput) -> dict[str, Any]:
    return {"effect": "deny", "reasons": [Reason(code="frozen", msg="Changes are frozen. Wait until it is lifted.")]}


class Rules:
    """The policy port: asks `rule`; None is an engine that does not answer."""

    revision = "r1"

    def __init__(self) -> None:
        self.rule: Rule | None = needs(OWNERS)
        self.phases: list[str] = []

    async def decide(self, document: PolicyInput) -> PolicyResult:
        self.phases.append(document.phase)
        if self.rule is None:
            return PolicyResult(None, "r1", Reason(code="policy_timeout", msg="It took too long. Try again."))
        empty: dict[str, Any] = {"reasons": [], "grants": [], "require": [], "auto": [], "unmet": []}
        answer = {
            "schema": "gateway.decision/v1",
            "request_hash": document.request.hash,
            **empty,
            "obligations": [],
            **self.rule(document),
        }
        return PolicyResult(PolicyAnswer.model_validate(answer), "r1")

    async def decide_all(self, documents: Sequence[PolicyInput]) -> list[PolicyResult]:
        return [await self.decide(document) for document in documents]


class Broker:
    """The dispatcher port: keeps what was published, for the test to deliver as often as it likes."""

    def __init__(self) -> None:
        self.messages: list[WakeUp] = []

    async def wake(self, job: str, ticket: str, traceparent: str) -> None:
        self.messages.append(WakeUp(job=job, ticket=ticket, traceparent=traceparent))

    async def alive(self) -> None: ...


class Unlimited:
    async def take(self, subject: str) -> int:
        return 0


class Quiet:
    async def ring(self) -> None: ...
    async def wait(self, timeout_s: float) -> None: ...


class Scene:
    """A gate to play on, with everybody of the practice company."""

    def __init__(self, store: SqlStore) -> None:
        self.store, self.clock, self.policy, self.broker = store, Clock(), Rules(), Broker()
        self.directory, self.keys = DIRECTORY, KeyRing(KEY, "gateway-1")
        self.gate = Gate(
            tenant="acme",
            zones=("UTC",),
            store=store,
            policy=self.policy,
            dispatcher=self.broker,
            tickets=self.keys,
            limits=Unlimited(),
            bus=Quiet(),
            clock=self.clock,
            catalog=lambda: CATALOG,
            tracker=FileTracker(None),
            folk=Folk(store, lambda: self.directory, self.clock),
        )

    def person(self, name: str) -> Asker:
        found = DIRECTORY.person(name)
        assert found is not None
        return Asker(principal=found, assurance=Assurance.OIDC, method="token", platform="rest")

    async def ask(self, line: str = LINE, who: str = "alice") -> Invocation:
        ask = Ask(line, None, {}, Options(), ChatContext())
        return await submit(self.gate, ask, self.person(who), lambda inv: None)

    async def vote(self, inv: Invocation, who: str = "bob", verdict: Any = "approve") -> Answer:
        ballot = Ballot(inv.id, verdict, inv.binding_hash, "")
        return await vote(self.gate, ballot, self.person(who), lambda answer: None)

    async def message(self) -> WakeUp:
        """The newest message, once the relay was by."""
        await relay(self.gate)
        return self.broker.messages[-1]

    async def approved(self) -> tuple[Invocation, WakeUp]:
        """A deploy to production with Bob's yes, and the message that wakes a worker for it."""
        inv = await self.ask()
        assert inv.state is State.PENDING
        await self.vote(inv)
        assert (await self.now(inv)).state is State.QUEUED
        return inv, await self.message()

    async def claim(self, message: WakeUp, worker: str = "worker-1", **forged: str) -> ClaimAnswer:
        body = {"worker": worker, "job": message.job, "ticket": message.ticket, **forged}
        return await claim(self.gate, ClaimJob.model_validate(body))

    async def end(self, message: WakeUp, given: ClaimAnswer, worker: str = "worker-1") -> bool:
        said = JobReport(worker=worker, fence=given.fence, result="succeeded", summary="It is live")
        return (await report(self.gate, message.job, said)).accepted

    async def beat(
        self, message: WakeUp, given: ClaimAnswer, worker: str = "worker-1", line: str = ""
    ) -> tuple[bool, bool]:
        said = JobProgress(worker=worker, fence=given.fence, lines=(line,) if line else (), text="going on")
        answer = await progress(self.gate, message.job, said)
        return answer.held, answer.cancel

    async def now(self, inv: Invocation) -> Invocation:
        found = await self.store.invocation(inv.id)
        assert found is not None
        return found

    async def audited(self, job: str) -> list[str]:
        return [r.kind for r in await self.store.audit(None, ("", 0), 1000) if r.invocation_id == job]

    def without(self, name: str, role: str | None = None) -> None:
        """From now on this person has lost the role, or is gone."""
        people = [p for p in DIRECTORY.people if name not in (p.id, p.owner) or role]
        people = [
            p.model_copy(update={"groups": tuple(g for g in p.groups if g != role)}) if p.id == name else p
            for p in people
        ]
        self.directory = Directory.model_validate({**DIRECTORY.model_dump(), "people": people})


def empty_store(folder: Path) -> Path:
    """A database with this version's schema and nothing in it, to copy."""
    migrate.upgrade(f"sqlite:///{folder / 'empty.db'}")
    return folder / "empty.db"


@asynccontextmanager
async def scene_in(folder: Path, empty: Path) -> AsyncIterator[Scene]:
    shutil.copy(empty, folder / "opsgate.db")
    store = SqlStore(f"sqlite:///{folder / 'opsgate.db'}", "gateway-1", [])
    try:
        yield Scene(store)
    finally:
        store.close()
