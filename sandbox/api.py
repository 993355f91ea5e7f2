"""The orchestrator's HTTP API. Faults are applied here, before anything is done.

Refuses to let /v1/faults and /v1/effects fail: tests steer and judge by them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sandbox import readings
from sandbox.errors import FleetError
from sandbox.faults import EVERY, parse
from sandbox.fleet import Fleet

MAX_BODY = 64 * 1024
MAX_LINES = 500
FOREVER_S = 3600


def make_app(fleet: Fleet) -> Starlette:
    """The API over one fleet."""
    api = Api(fleet)
    return Starlette(
        routes=[
            Route("/healthz", api.healthz),
            Route("/metrics", api.metrics),
            Route("/v1/services", api.services),
            Route("/v1/services/{environment}/{service}", api.service),
            Route("/v1/services/{environment}/{service}/logs", api.logs),
            Route("/v1/rollouts", api.start, methods=["POST"]),
            Route("/v1/rollouts", api.rollouts),
            Route("/v1/rollouts/{id}", api.rollout),
            Route("/v1/rollouts/{id}/cancel", api.cancel, methods=["POST"]),
            Route("/v1/pages", api.page, methods=["POST"]),
            Route("/v1/pages", api.pages),
            Route("/v1/faults", api.put_faults, methods=["PUT"]),
            Route("/v1/faults", api.clear_faults, methods=["DELETE"]),
            Route("/v1/faults", api.faults),
            Route("/v1/effects", api.effects),
            Route("/{service}/version", api.version),
        ],
        exception_handlers={FleetError: _refuse},
    )


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, FleetError)
    return JSONResponse({"detail": error.detail, **error.more}, error.status)


class Api:
    """One method a route."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def healthz(self, _: Request) -> Response:
        return JSONResponse({"ok": True})

    async def metrics(self, _: Request) -> Response:
        fleet = self._fleet
        text = readings.metrics(fleet.deployments(), fleet.rollouts(None), fleet.born(), fleet.now())
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    async def version(self, request: Request) -> Response:
        environment = request.query_params.get("environment", "production")

        async def answer() -> Response:
            found = self._fleet.deployment(request.path_params["service"], environment)
            return JSONResponse({"service": found.service, "environment": environment, "version": found.version})

        return await self._in_trouble(request.path_params["service"], answer)

    async def services(self, _: Request) -> Response:
        async def answer() -> Response:
            return JSONResponse({"items": [readings.view(found) for found in self._fleet.deployments()]})

        return await self._in_trouble(EVERY, answer)

    async def service(self, request: Request) -> Response:
        async def answer() -> Response:
            return JSONResponse(readings.view(self._fleet.deployment(**request.path_params)))

        return await self._in_trouble(request.path_params["service"], answer)

    async def logs(self, request: Request) -> Response:
        text = request.query_params.get("lines", "20")
        if not (text.isascii() and text.isdigit() and len(text) < 5 and int(text) <= MAX_LINES):
            raise FleetError(422, f"lines must be a whole number from 0 to {MAX_LINES}.")

        async def answer() -> Response:
            found = self._fleet.deployment(**request.path_params)
            lines = readings.log_lines(found, self._fleet.rollouts(None), self._fleet.now(), int(text))
            return JSONResponse({"lines": lines})

        return await self._in_trouble(request.path_params["service"], answer)

    async def start(self, request: Request) -> Response:
        asked = await _body(request)

        async def answer() -> Response:
            rollout, begun = self._fleet.start(asked)
            return JSONResponse(readings.rollout_view(rollout), 201 if begun else 200)

        return await self._in_trouble(str(asked.get("service")), answer)

    async def rollouts(self, request: Request) -> Response:
        """`service` narrows whose faults apply: a search by correlation id alone belongs to every service."""

        async def answer() -> Response:
            found = self._fleet.rollouts(request.query_params.get("correlation_id"))
            return JSONResponse({"items": [readings.rollout_view(rollout) for rollout in found]})

        return await self._in_trouble(request.query_params.get("service", EVERY), answer)

    async def rollout(self, request: Request) -> Response:
        found = self._fleet.rollout(request.path_params["id"])

        async def answer() -> Response:
            return JSONResponse(readings.rollout_view(self._fleet.rollout(found["id"])))

        return await self._in_trouble(found["service"], answer)

    async def cancel(self, request: Request) -> Response:
        found = self._fleet.rollout(request.path_params["id"])

        async def answer() -> Response:
            return JSONResponse(readings.rollout_view(self._fleet.cancel(found["id"])))

        return await self._in_trouble(found["service"], answer)

    async def page(self, request: Request) -> Response:
        asked = await _body(request)

        async def answer() -> Response:
            page, new = self._fleet.page(asked)
            return JSONResponse(page, 201 if new else 200)

        return await self._in_trouble(EVERY, answer)

    async def pages(self, _: Request) -> Response:
        return JSONResponse({"items": self._fleet.pages()})

    async def faults(self, _: Request) -> Response:
        return JSONResponse(self._fleet.all_faults())

    async def put_faults(self, request: Request) -> Response:
        body = await _body(request)
        service = str(body.pop("service", None) or EVERY)
        self._fleet.put_faults(service, parse(body))
        return JSONResponse(self._fleet.all_faults())

    async def clear_faults(self, _: Request) -> Response:
        self._fleet.clear_faults()
        return Response(status_code=204)

    async def effects(self, _: Request) -> Response:
        return JSONResponse(self._fleet.effects())

    async def _in_trouble(self, service: str, answer: Callable[[], Awaitable[Response]]) -> Response:
        faults = self._fleet.faults(service)
        if faults.hang:
            await asyncio.sleep(FOREVER_S)
        if faults.status_5xx:
            return JSONResponse({"detail": "The fleet was told to fail."}, faults.status_5xx)
        await asyncio.sleep(faults.delay_s)
        response = await answer()
        return JSONResponse({"detail": "The answer was lost."}, 500) if faults.lose_answer else response


async def _body(request: Request) -> dict[str, Any]:
    raw = await request.body()
    if len(raw) > MAX_BODY:
        raise FleetError(413, f"The body is over {MAX_BODY // 1024} KiB.")
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise FleetError(422, "The body must be a JSON object.")
    return body
