"""The application: routes, middleware and the house behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

import opsgate
from gateway.api import invocations, openapi, people, problems, questions, session, system, terminals, workers
from gateway.api.limits import Limits
from gateway.api.link_pages import link_pages
from gateway.api.sign_in import sign_in_router
from gateway.console.pages import console_router
from gateway.console.small_pages import SmallPages
from gateway.house import House
from gateway.settings import Settings
from gateway.wiring import build


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
        description=openapi.DESCRIPTION,
        lifespan=lifespan,
        responses=openapi.ANYWHERE,
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
    openapi.complete(app)
    return app
