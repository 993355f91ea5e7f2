"""The application: routes, middleware and the house behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

import opsgate
from gateway.api import invocations, people, problems, questions, session, system, terminals, workers
from gateway.api.limits import Limits
from gateway.api.link_pages import link_pages
from gateway.api.sign_in import sign_in_router
from gateway.console.pages import console_router
from gateway.console.small_pages import SmallPages
from gateway.house import House
from gateway.settings import Settings
from gateway.wiring import build
from opsgate.contracts.problems import Problem


def create_app(settings: Settings, house: House | None = None) -> FastAPI:
    """A gateway. Raises CannotStart or BadFiles with what to do."""
    house = house or build(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await house.open()
        try:
            yield
        finally:
            await house.close()

    app = FastAPI(
        title="Opsgate",
        version=opsgate.__version__,
        description="One door between chat and production.",
        lifespan=lifespan,
        responses=problems.RESPONSES,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.state.house = house
    app.state.running = set()
    problems.install(app)
    show = SmallPages().show
    small = (sign_in_router(show), link_pages(show), terminals.terminal_pages(show), terminals.router)
    for router in (
        invocations.router,
        questions.router,
        people.router,
        session.router,
        *small,
        workers.router,
        system.router,
    ):
        app.include_router(router)
    if settings.profile == "embedded":
        app.include_router(system.dev_router)
    app.include_router(console_router(settings.profile))
    app.add_middleware(Limits, telemetry=house.telemetry)
    _document_problems(app)
    return app


def _document_problems(app: FastAPI) -> None:
    """Puts the problem document into the OpenAPI components; FastAPI only does so for JSON models."""
    make = app.openapi

    def openapi() -> dict[str, object]:
        if not app.openapi_schema:
            document = make()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            for name, nested in schemas["Problem"].pop("$defs", {}).items():
                schemas[name] = nested
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]
