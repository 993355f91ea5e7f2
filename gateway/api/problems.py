"""Errors as RFC 9457 problem documents, with closed codes and sentences that say what to do. Never a traceback."""

from __future__ import annotations

import json
import re
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from opentelemetry import trace
from starlette.exceptions import HTTPException

from gateway.domain.errors import GateError
from opsgate.contracts.problems import CONTENT_TYPE, Code, Problem

log = structlog.get_logger("opsgate.api")
TITLES = {
    400: "The request is not right",
    401: "Not signed in",
    403: "Not allowed",
    404: "Not found",
    405: "Not offered here",
    409: "Not possible now",
    413: "Too large",
    422: "Not understood",
    429: "Too many requests",
    500: "A defect of Opsgate",
    503: "Not available now",
}
_KEY = ("header", "Idempotency-Key")
_CODES = {404: Code.NOT_FOUND, 405: Code.METHOD_NOT_ALLOWED, 413: Code.TOO_LARGE}


class _Answer(JSONResponse):
    media_type = CONTENT_TYPE

    def render(self, content: Any) -> bytes:
        # What was asked is quoted, and JSON may carry half of a surrogate pair, which UTF-8 cannot.
        return json.dumps(content, ensure_ascii=False).encode(errors="replace")


def answer(problem: Problem, headers: dict[str, str] | None = None) -> JSONResponse:
    return _Answer(problem.model_dump(exclude_none=True), problem.status, headers=headers)


def make(status: int, code: Code, detail: str, **more: Any) -> Problem:
    trace_id = f"{trace.get_current_span().get_span_context().trace_id:032x}"
    kind = f"https://opsgate.dev/problems/{code.value}"
    return Problem(type=kind, title=TITLES[status], status=status, code=code, detail=detail, trace_id=trace_id, **more)


def install(app: FastAPI) -> None:
    """The error answers of the whole application."""

    @app.exception_handler(GateError)
    async def _gate(_: Request, error: GateError) -> JSONResponse:
        headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else {}
        if error.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return answer(
            make(error.status, error.code, error.detail, suggestion=error.suggestion, examples=error.examples), headers
        )

    @app.exception_handler(RequestValidationError)
    async def _shape(request: Request, error: RequestValidationError) -> JSONResponse:
        if any(e["type"] == "missing" and e["loc"] == _KEY for e in error.errors()):
            words = "Send an `Idempotency-Key` header: a new random text for each thing you ask."
            return answer(make(400, Code.KEY_MISSING, words))
        errors = tuple(f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}"[:300] for e in error.errors()[:20])
        return answer(make(422, Code.BAD_INPUT, _shape_words(request, error), errors=errors))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        code = _CODES.get(error.status_code, Code.BAD_INPUT)
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers.update(_allow(app, request.url.path))
        return answer(make(error.status_code, code, str(error.detail)), headers)


def _shape_words(request: Request, error: RequestValidationError) -> str:
    """What is wrong with the body as a whole, or that `errors` says where it is."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return f"The body is not JSON: it breaks off or has a mistake at character {first['loc'][-1]}."
    if first["loc"] == ("body",):
        if first["type"] == "missing":
            return "The body is empty. Send JSON, with the header `Content-Type: application/json`."
        if "json" not in request.headers.get("content-type", ""):
            return "The body is not marked as JSON. Send it with the header `Content-Type: application/json`."
        return "The body is JSON, but no object. Send one: {…}."
    return "The request has another shape than the API takes: `errors` says where, /openapi.json has the shape."


def _allow(app: FastAPI, path: str) -> dict[str, str]:
    """Every method of a path: the router knows only those of the first route it found there."""
    for template, operations in app.openapi()["paths"].items():
        if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path):
            return {"Allow": ", ".join(sorted(method.upper() for method in operations))}
    return {}


def defect(error: Exception) -> JSONResponse:
    """The answer to what should not have happened; the log has the rest."""
    log.error("defect", kind=type(error).__name__, exc_info=error)
    words = "Opsgate made a mistake; nothing more is known to have been done. Tell the operator the trace id."
    return answer(make(500, Code.INTERNAL, words))
