"""Logs, traces, metrics. A log line is JSON with trace and Invocation id; labels of metrics come from closed lists.

Refuses to log bodies, tokens or headers: only what is named here gets out.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TextIO, cast

import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from structlog.contextvars import bind_contextvars, bound_contextvars

from gateway.domain.deciding import PolicyResult
from gateway.domain.ids import INVOCATION
from gateway.domain.ports import Dispatcher, Policy
from opsgate.contracts.policy import PolicyInput

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Not OpenTelemetry's current span: a library may have put one of its own, which goes nowhere, in between.
_span: ContextVar[trace.Span] = ContextVar("span", default=trace.INVALID_SPAN)
_propagator = TraceContextTextMapPropagator()


class _Lines:
    """The standard error. A full disk costs log lines (the audit log is another thing), and stops nothing else."""

    def write(self, text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()


def set_up_logs(level: str) -> None:
    """structlog JSON lines on the standard error, also for the libraries' own logging."""
    number, lines = logging.getLevelNamesMapping()[level.upper()], cast(TextIO, _Lines())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=lines),
        cache_logger_on_first_use=False,
    )
    line = structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        foreign_pre_chain=shared,
    )
    out = logging.StreamHandler(lines)
    out.setFormatter(line)
    root = logging.getLogger()
    root.handlers[:] = [out]
    root.setLevel(max(number, logging.WARNING))


def _name(_logger: object, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Both ids stand on every line, empty where there is none, so that a search finds all of a story."""
    line.setdefault("invocation_id", "")
    line.setdefault("trace_id", "")
    return line


def about(invocation_id: str) -> None:
    """From here on, the log lines and the span of this request are about this Invocation; rubbish is not kept."""
    if INVOCATION.fullmatch(invocation_id):
        bind_contextvars(invocation_id=invocation_id)
        _span.get().set_attribute("opsgate.invocation_id", invocation_id)


class Telemetry:
    """This process's tracer and metrics."""

    def __init__(self, node: str, otlp_endpoint: str) -> None:
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": "opsgate-gateway", "host.name": node})
        )
        if otlp_endpoint:
            self._provider.add_span_processor(BatchSpanProcessor(_exporter(otlp_endpoint)))
        self._tracer = self._provider.get_tracer("opsgate.gateway")
        self.registry = CollectorRegistry()
        self.answers = Counter(
            "opsgate_http_answers_total", "HTTP answers", ["method", "route", "status"], registry=self.registry
        )
        self.decisions = Counter(
            "opsgate_decisions_total", "Decisions of the policy", ["phase", "effect"], registry=self.registry
        )
        self.decision_time = Histogram(
            "opsgate_decision_seconds",
            "Time the policy took",
            registry=self.registry,
            buckets=(0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25),
        )
        self.problems = Gauge("opsgate_problems", "Parts that have a problem now", registry=self.registry)

    def answered(self, method: str, route: str | None, status: int) -> None:
        """Counts an HTTP answer. `route` is a template, None when nothing was found there; a made-up method is `-`."""
        known = method if route is not None and method in METHODS else "-"
        self.answers.labels(known, route or "unmatched", status).inc()

    @contextmanager
    def span(
        self, name: str, headers: Mapping[str, str], kind: SpanKind = SpanKind.SERVER, invocation_id: str = ""
    ) -> Iterator[trace.Span]:
        """A span that goes on with the W3C trace context in `headers` (without one: with what is going on here).

        Everything logged inside carries its ids.
        """
        context = _propagator.extract(dict(headers)) if headers else None
        with self._tracer.start_as_current_span(name, context=context, kind=kind, record_exception=False) as span:
            trace_id = f"{span.get_span_context().trace_id:032x}"
            before = _span.set(span)
            try:
                with bound_contextvars(trace_id=trace_id, invocation_id=invocation_id):
                    about(invocation_id)
                    yield span
            finally:
                _span.reset(before)

    def page(self) -> bytes:
        return generate_latest(self.registry)

    def close(self) -> None:
        self._provider.shutdown()


def _exporter(endpoint: str) -> OTLPSpanExporter:
    return OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=5)


class TracedPolicy:
    """The Policy port, each question a span."""

    def __init__(self, policy: Policy, telemetry: Telemetry) -> None:
        self._policy, self._telemetry = policy, telemetry

    @property
    def revision(self) -> str:
        return self._policy.revision

    async def decide(self, document: PolicyInput) -> PolicyResult:
        asked = document.request.id
        with self._telemetry.span("opa decide", {}, SpanKind.CLIENT, asked) as span:
            span.set_attribute("opsgate.phase", document.phase)
            result = await self._policy.decide(document)
            span.set_attribute("opsgate.effect", result.answer.effect.value if result.answer else "none")
            return result

    async def decide_all(self, documents: Sequence[PolicyInput]) -> list[PolicyResult]:
        with self._telemetry.span("opa decide many", {}, SpanKind.CLIENT) as span:
            span.set_attribute("opsgate.documents", len(documents))
            return await self._policy.decide_all(documents)


class TracedDispatcher:
    """The Dispatcher port: publishing is a span of the trace in which the Job was asked for, and the worker goes on."""

    def __init__(self, dispatcher: Dispatcher, telemetry: Telemetry) -> None:
        self._dispatcher, self._telemetry = dispatcher, telemetry

    async def wake(self, job: str, ticket: str, traceparent: str) -> None:
        with self._telemetry.span("relay wake", {"traceparent": traceparent}, SpanKind.PRODUCER, job):
            await self._dispatcher.wake(job, ticket, current_traceparent())

    async def alive(self) -> None:
        await self._dispatcher.alive()


def current_traceparent() -> str:
    """The W3C trace context of what is going on now, to pass on to a Job."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get("traceparent", "")
