"""Doubles at the runner's two ports: a gateway that says what the test wants, and an operation that obeys it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from opsgate.connectors import Cancelled, Handle, Operation, Progressing, Result, Run, Succeeded
from opsgate.contracts.jobs import (
    Announce,
    ClaimAnswer,
    ClaimJob,
    JobProgress,
    JobReport,
    ProgressAnswer,
    ReportAnswer,
    WakeUp,
)
from workers.gateway_api import GatewayTrouble
from workers.runner import Runner

WAKE = WakeUp(job="inv_1", ticket="signed")


class Clock:
    """Seconds that pass only when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def claim(step: str = "start", **changes: Any) -> ClaimAnswer:
    """A claim answered with `run`."""
    answer = {
        "verdict": "run",
        "why": "yours",
        "step": step,
        "fence": 1,
        "lease_s": 30,
        "deadline_s": 60,
        "correlation_id": "inv_1",
        "operation": "double.work",
        "input": {"what": "this"},
        "handle": {"run": 7} if step != "start" else None,
    }
    return ClaimAnswer.model_validate({**answer, **changes})


@dataclass
class FakeGateway:
    """Answers the same claim again and again; keeps what it was told."""

    answer: ClaimAnswer
    held: bool = True
    cancel: bool = False
    accepted: bool = True
    down_for: set[str] = field(default_factory=set)
    announced: list[Announce] = field(default_factory=list)
    claimed: list[ClaimJob] = field(default_factory=list)
    told: list[JobProgress] = field(default_factory=list)
    reported: list[JobReport] = field(default_factory=list)

    def announce(self, offer: Announce) -> None:
        self._trouble("announce")
        self.announced.append(offer)

    def claim(self, claim: ClaimJob) -> ClaimAnswer:
        self._trouble("claim")
        self.claimed.append(claim)
        return self.answer

    def progress(self, job: str, progress: JobProgress) -> ProgressAnswer:
        self._trouble("progress")
        progress.model_dump_json()
        self.told.append(progress)
        return ProgressAnswer(held=self.held, cancel=self.cancel)

    def report(self, job: str, report: JobReport) -> ReportAnswer:
        self._trouble("report")
        report.model_dump_json()
        self.reported.append(report)
        return ReportAnswer(accepted=self.accepted)

    def _trouble(self, call: str) -> None:
        if call in self.down_for:
            raise GatewayTrouble(f"no {call} today")


class WorkInput(BaseModel):
    model_config = ConfigDict(extra="forbid")
    what: str


Answer = Any | Exception | Callable[[], Any]


class Work(Operation[WorkInput]):
    """Answers each call with the next of what the test put in; an exception is raised, a function called."""

    name: ClassVar[str] = "double.work"
    summary: ClassVar[str] = "Do as the test says"
    idempotent: ClassVar[bool] = True
    input = WorkInput

    def __init__(
        self,
        *,
        probe: list[Answer] | None = None,
        start: list[Answer] | None = None,
        follow: list[Answer] | None = None,
        cancel: list[Answer] | None = None,
    ) -> None:
        self.calls: list[str] = []
        self.runs: list[Run] = []
        self._answers: dict[str, list[Answer]] = {
            "probe": [None] if probe is None else probe,
            "start": [{"run": 7}] if start is None else start,
            "follow": [Progressing("half way", 50, 1.5)] if follow is None else follow,
            "cancel": [Cancelled("Stopped.")] if cancel is None else cancel,
        }

    def probe(self, run: Run, input: WorkInput) -> Handle | None:
        found: Handle | None = self._next("probe", run)
        return found

    def start(self, run: Run, input: WorkInput) -> Handle:
        handle: Handle = self._next("start", run)
        return handle

    def follow(self, run: Run, input: WorkInput, handle: Handle) -> Result:
        result: Result = self._next("follow", run)
        return result

    def cancel(self, run: Run, input: WorkInput, handle: Handle) -> Result:
        result: Result = self._next("cancel", run)
        return result

    def _next(self, call: str, run: Run) -> Any:
        self.calls.append(call)
        self.runs.append(run)
        answer = self._answers[call].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer


class OnceWork(Work):
    """The same, but starting it twice has the effect of twice."""

    idempotent: ClassVar[bool] = False


DONE = Succeeded("It is done.", {"size": 3})


def carry(work: Work, gateway: FakeGateway, clock: Clock | None = None) -> JobReport | None:
    """One wake-up; the report, if there was one."""
    Runner(gateway, {work.name: work}, "worker-a", clock or Clock()).wake(WAKE)
    assert len(gateway.reported) <= 1
    return gateway.reported[0] if gateway.reported else None


def report_of(work: Work, gateway: FakeGateway, clock: Clock | None = None) -> JobReport:
    """One wake-up that must be reported."""
    report = carry(work, gateway, clock)
    assert report is not None
    return report
