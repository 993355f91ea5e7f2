"""Logs, traces and metrics. Every log line is JSON and carries the trace id; labels of metrics come from closed lists.

Refuses to log bodies, tokens or headers: only what is named here gets out.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_propagator = TraceContextTextMapPropagator()


def set_up_logs(level: str) -> None:
    """structlog JSON lines on the standard error, also for the libraries' own logging."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
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
    out = logging.StreamHandler(sys.stderr)
    out.setFormatter(line)
    root = logging.getLogger()
    root.handlers[:] = [out]
    root.setLevel(max(number, logging.WARNING))


class Telemetry:
    """This process's tracer and metrics."""

    def __init__(self, node: str, otlp_endpoint: str) -> None:
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": "opsgate-gateway", "host.name": node})
        )
        if otlp_endpoint:
            self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=otlp_endpoint)))
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

    @contextmanager
    def span(self, name: str, headers: Mapping[str, str]) -> Iterator[trace.Span]:
        """A server span that goes on with the caller's W3C trace context; binds the trace id to the log lines."""
        context = _propagator.extract(dict(headers))
        with self._tracer.start_as_current_span(name, context=context, kind=SpanKind.SERVER) as span:
            trace_id = f"{span.get_span_context().trace_id:032x}"
            structlog.contextvars.bind_contextvars(trace_id=trace_id)
            try:
                yield span
            finally:
                structlog.contextvars.unbind_contextvars("trace_id")

    def page(self) -> bytes:
        return generate_latest(self.registry)

    def close(self) -> None:
        self._provider.shutdown()


def traceparent() -> str:
    """The W3C trace context of what is going on now, to pass on to a Job."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get("traceparent", "")
