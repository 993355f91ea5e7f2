"""The first thing a request meets: its size and depth are bounded before anything is parsed, and it gets a trace."""

from __future__ import annotations

import json
import re
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api.problems import answer, defect, make
from gateway.domain.ids import INVOCATION
from gateway.infra.telemetry import METHODS, Telemetry
from opsgate.contracts.problems import Code, Problem

MAX_BODY = 256 * 1024
MAX_DEPTH = 64
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")


def too_deep(body: bytes) -> bool:
    """Whether JSON nests deeper than MAX_DEPTH; linear in the size. UTF-8 only: there no other byte looks so."""
    depth = 0
    for match in _BRACKETS.finditer(_STRINGS.sub(b"", body)):
        depth += 1 if match[0] in b"[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


class Limits:
    """ASGI middleware: bounded body, trace context, one count per answer."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"] if k == b"traceparent"}
        named = INVOCATION.search(scope["path"])
        with self._telemetry.span("HTTP", headers, invocation_id=named[0] if named else "") as span:
            status = 0

            async def counted(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            body = await _read(receive)
            refused = _refusal(body)
            if refused is not None:
                await answer(refused)(scope, receive, counted)
            else:
                try:
                    await self._app(scope, _again(body or b"", receive), counted)
                except Exception as error:
                    # Here, inside the span, so that the answer carries the trace id it speaks of.
                    if status:
                        raise
                    await defect(error)(scope, receive, counted)
            route = getattr(scope.get("route"), "path", None)
            span.update_name(f"{scope['method'] if scope['method'] in METHODS else 'HTTP'} {route or 'unmatched'}")
            span.set_attribute("http.response.status_code", status)
            self._telemetry.answered(scope["method"], route, status)


def _refusal(body: bytes | None) -> Problem | None:
    """What is wrong with the body before anybody parses it, if anything is."""
    if body is None:
        return make(413, Code.TOO_LARGE, f"The body is larger than {MAX_BODY // 1024} KiB. Send less.")
    if not _is_utf8(body):
        return make(400, Code.BAD_INPUT, "The body is not UTF-8. Send JSON as UTF-8.")
    if too_deep(body):
        return make(400, Code.BAD_INPUT, f"The JSON nests deeper than {MAX_DEPTH}. Send it flatter.")
    return None


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return json.detect_encoding(body).startswith("utf-8")  # ASCII as UTF-16 is UTF-8 too, with NULs


async def _read(receive: Receive) -> bytes | None:
    """The whole body, or None when it is too large."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY:
            return None
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """A receive that gives the body once, then what comes after it (the client leaving)."""
    given = False

    async def give() -> Any:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return give
