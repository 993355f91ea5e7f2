"""JSON log lines and traces of a worker process.

Refuses to touch a process that did not ask: only `python -m workers` and, for traces, `python -m dev` call it.
"""

from __future__ import annotations

import logging
import sys

import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from structlog.typing import EventDict, Processor

_tracer: trace.Tracer = TracerProvider().get_tracer("opsgate.workers")


def _name(_logger: object, _method: str, line: EventDict) -> EventDict:
    """Both ids stand on every line, empty where there is none, as in the gateway's log."""
    line.setdefault("invocation_id", "")
    line.setdefault("trace_id", "")
    return line


def log_json(level: str) -> None:
    """Every line of this process, Celery's too, as one JSON object on stderr, with what the runner bound to it."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _name,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.EventRenamer("message"),
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [lines]
    root.setLevel(level)
    # A line for every heartbeat and message would drown the runner's own, which name the Invocation.
    for name in ("httpx2", "celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)


def tracer() -> trace.Tracer:
    """Makes the worker's spans; they go nowhere until `send_traces` said where."""
    return _tracer


def send_traces(endpoint: str, worker: str) -> None:
    """Spans to an OTLP/HTTP collector at `endpoint` (its base address); nothing at all when that is empty."""
    global _tracer
    if endpoint:
        provider = TracerProvider(
            resource=Resource.create({"service.name": "opsgate-worker", "opsgate.worker": worker})
        )
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=5)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        # Not the provider of the whole process: a gateway beside it would speak under the worker's name.
        _tracer = provider.get_tracer("opsgate.workers")
