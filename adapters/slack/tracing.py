"""Where a trace begins: a span for each delivery, and its W3C `traceparent` on every call to the gateway.

Refuses to send spans anywhere unless OPSGATE_OTLP_ENDPOINT says where.
"""

from __future__ import annotations

import httpx2
from opentelemetry import propagate
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def provider(otlp_endpoint: str) -> TracerProvider:
    """Makes spans; exports them when there is an endpoint. Shut it down at the end."""
    made = TracerProvider(resource=Resource.create({"service.name": "opsgate-slack"}))
    if otlp_endpoint:
        made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{otlp_endpoint.rstrip('/')}/v1/traces")))
    return made


class TracedTransport(httpx2.AsyncHTTPTransport):
    """HTTP that tells the other side which trace a call belongs to."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        propagate.inject(request.headers)
        return await super().handle_async_request(request)
