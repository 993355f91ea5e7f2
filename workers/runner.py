"""Claim, carry out, report: everything a worker does about one wake-up, as a plain synchronous function.

Refuses to trust the wake-up: the gateway's claim alone says what is to be done, and whether.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from opentelemetry import propagate, trace

from opsgate.connectors import Operation
from opsgate.contracts.jobs import ClaimAnswer, ClaimJob, WakeUp
from workers.carrying import Outcome, carry_out
from workers.gateway_api import Gateway, GatewayTrouble
from workers.lease import Lease, LeaseLost
from workers.telemetry import tracer

_log = structlog.get_logger(__name__)


class Runner:
    """Holds no state of a Job: any worker can take the next step of any of them. Safe across threads."""

    def __init__(
        self,
        gateway: Gateway,
        operations: Mapping[str, Operation[Any]],
        worker: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.operations = operations
        self.worker = worker
        self._gateway = gateway
        self._clock = clock

    def wake(self, wake: WakeUp) -> None:
        """Returns when the step is reported or given up. Never raises for trouble: the gateway wakes somebody again."""
        parent = propagate.extract({"traceparent": wake.traceparent})
        with (
            tracer().start_as_current_span("job", context=parent, kind=trace.SpanKind.CONSUMER) as span,
            structlog.contextvars.bound_contextvars(
                invocation_id=wake.job, trace_id=f"{span.get_span_context().trace_id:032x}"
            ),
        ):
            span.set_attribute("opsgate.invocation_id", wake.job)
            try:
                self._claim_and_carry_out(wake)
            except GatewayTrouble as trouble:
                _log.error("gateway.trouble", why=str(trouble))
            except LeaseLost:
                _log.warning("lease.lost")

    def _claim_and_carry_out(self, wake: WakeUp) -> None:
        since = self._clock()
        claim = self._gateway.claim(ClaimJob(worker=self.worker, job=wake.job, ticket=wake.ticket))
        if claim.verdict == "skip":
            _log.info("job.skipped", why=claim.why)
            return
        _log.info("job.claimed", operation=claim.operation, step=claim.step, fence=claim.fence)
        with Lease(self._gateway, self.worker, wake.job, claim, since=since, clock=self._clock) as lease:
            outcome = self._carry_out(claim, lease)
            lease.check()
            report = outcome.report(self.worker, claim.fence, lease.last_lines())
            answer = self._gateway.report(wake.job, report)
        _log.info("job.reported", result=outcome.result, summary=outcome.summary, accepted=answer.accepted)

    def _carry_out(self, claim: ClaimAnswer, lease: Lease) -> Outcome:
        operation = self.operations.get(claim.operation)
        if operation is None:
            return Outcome(
                "failed",
                f"Worker {self.worker} does not offer {claim.operation}; add its connector to OPSGATE_CONNECTORS.",
            )
        with tracer().start_as_current_span(claim.operation, record_exception=False) as span:
            span.set_attribute("opsgate.step", claim.step or "start")
            outcome = carry_out(operation, claim, lease, self._clock)
            span.set_attribute("opsgate.result", outcome.result)
            return outcome
