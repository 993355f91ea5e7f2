"""One step of one Job: calls the Operation and turns whatever happens into an Outcome in words.

Refuses a blind second start, and to call something failed that may have happened.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog
from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from opsgate.connectors import (
    Cancelled,
    ConnectorError,
    Failed,
    Handle,
    Operation,
    OutsideUnreachable,
    Progressing,
    Result,
    Run,
)
from opsgate.contracts.jobs import ClaimAnswer, JobReport
from workers.lease import Lease, LeaseLost

LOOK_AGAIN_S = 5.0
"""After the outside system gave no answer."""
GRACE_S = 120.0
"""How long after its time limit a Job may still be stopping."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What the report says, before the worker's name, fence and log lines are added."""

    result: str
    summary: str
    facts: dict[str, Any] = field(default_factory=dict)
    handle: Handle | None = None
    again_after_s: float = 0
    percent: int | None = None

    def report(self, worker: str, fence: int, lines: tuple[str, ...]) -> JobReport:
        return JobReport.model_validate(
            {
                "worker": worker,
                "fence": fence,
                "result": self.result,
                "summary": self.summary[:1000],
                "facts": self.facts,
                "handle": self.handle,
                "again_after_s": self.again_after_s,
                "percent": self.percent,
                "lines": lines,
            }
        )


def carry_out(
    operation: Operation[Any], claim: ClaimAnswer, lease: Lease, clock: Callable[[], float] = time.monotonic
) -> Outcome:
    """Carries out `claim.step` once. Raises LeaseLost; every other trouble becomes an Outcome."""
    try:
        given = operation.input.model_validate(claim.input)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'input'}: {e['msg']}" for e in error.errors())
        return Outcome("failed", f"{claim.operation} cannot take this input ({wrong}). Correct the command's file.")
    return _Step(operation, given, claim, lease, clock).take()


class _Step:
    def __init__(
        self,
        operation: Operation[Any],
        given: BaseModel,
        claim: ClaimAnswer,
        lease: Lease,
        clock: Callable[[], float],
    ) -> None:
        self._operation = operation
        self._given = given
        self._claim = claim
        self._lease = lease
        self._clock = clock
        self._deadline = clock() + claim.deadline_s
        self._handle = claim.handle
        self._begun = claim.handle is not None

    def take(self) -> Outcome:
        steps = {"start": self._start, "follow": self._follow, "cancel": self._stop}
        try:
            return steps[self._claim.step or "start"]()
        except LeaseLost:
            raise
        except OutsideUnreachable as error:
            return self._unreachable(error)
        except ConnectorError as error:
            return Outcome("failed", str(error), handle=self._handle)
        except Exception as error:
            _log.exception("operation.broke", operation=self._claim.operation)
            return self._broken(error)

    def _start(self) -> Outcome:
        self._handle = self._operation.probe(self._run(), self._given)
        if self._handle is None:
            self._lease.check()
            if self._lease.cancel_asked:
                return Outcome("cancelled", "It was stopped before anything was started.")
            if self._remaining_s() <= 0:
                return Outcome("failed", "Its time was over before it could start; nothing was changed. Ask again.")
            self._handle = to_jsonable_python(self._begin())
        self._begun = True
        self._lease.tell(self._handle)
        self._lease.check()
        return self._follow()

    def _begin(self) -> Handle:
        """Start once; when nobody knows whether it did, `probe` decides."""
        self._begun = True
        try:
            return self._operation.start(self._run(), self._given)
        except OutsideUnreachable as error:
            self._lease.log(str(error))
            found = self._operation.probe(self._run(), self._given)
            if found is not None:
                return found
            if self._operation.idempotent:
                raise
            raise ConnectorError(f"{error} It shows nothing begun for this; look before you ask again.") from error
        except ConnectorError:
            self._begun = False
            raise

    def _follow(self) -> Outcome:
        if self._handle is None:
            return self._start()
        result = self._operation.follow(self._run(), self._given, self._handle)
        overdue = self._remaining_s() <= 0
        if isinstance(result, Progressing) and (self._lease.cancel_asked or overdue):
            self._lease.check()
            return self._stop()
        return self._outcome(result)

    def _stop(self) -> Outcome:
        if self._handle is None:
            self._handle = self._operation.probe(self._run(), self._given)
            if self._handle is None:
                return Outcome("cancelled", "It was stopped before anything was started.")
            self._begun = True
            self._lease.tell(self._handle)
            self._lease.check()
        try:
            result = self._operation.cancel(self._run(), self._given, self._handle)
        except OutsideUnreachable:
            raise
        except ConnectorError as error:
            self._lease.log(f"It could not be stopped: {error}")
            result = self._operation.follow(self._run(), self._given, self._handle)
        return self._late(result) if self._remaining_s() <= 0 else self._outcome(result)

    def _late(self, result: Result) -> Outcome:
        if isinstance(result, Cancelled):
            result = Failed(f"It took longer than its time limit and was stopped. {result.summary}", result.facts)
        if isinstance(result, Progressing) and self._remaining_s() < -GRACE_S:
            return Outcome(
                "unknown",
                f"It took longer than its time limit and does not stop ({result.text}); look at it by hand.",
                handle=self._handle,
            )
        return self._outcome(result)

    def _outcome(self, result: Result) -> Outcome:
        if isinstance(result, Progressing):
            return Outcome(
                "running",
                result.text,
                handle=self._handle,
                again_after_s=min(300.0, max(0.2, result.after_s)),
                percent=None if result.percent is None else min(100, max(0, int(result.percent))),
            )
        return Outcome(type(result).__name__.lower(), result.summary, to_jsonable_python(result.facts), self._handle)

    def _unreachable(self, error: OutsideUnreachable) -> Outcome:
        stays_open = self._begun and self._handle is None and not self._operation.idempotent
        if stays_open or self._remaining_s() <= 0:
            summary = f"{error} It is not known whether it happened; look at it by hand before you ask again."
            return Outcome("unknown", summary, handle=self._handle)
        return Outcome("running", f"{error} Looking again.", handle=self._handle, again_after_s=LOOK_AGAIN_S)

    def _broken(self, error: Exception) -> Outcome:
        """No text of the error: it may hold what must not be shown. The log has all of it."""
        uncertain = (self._begun or self._claim.fence > 1) and not self._operation.idempotent
        ending = "It may have happened: look before you ask again." if uncertain else "Ask again, or tell its owners."
        summary = f"{self._claim.operation} broke on an unexpected {type(error).__name__}. {ending}"
        return Outcome("unknown" if uncertain else "failed", summary, handle=self._handle)

    def _remaining_s(self) -> float:
        return self._deadline - self._clock()

    def _run(self) -> Run:
        return Run(self._claim.correlation_id, max(0.0, self._remaining_s()), self._lease.log)
