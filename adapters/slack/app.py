"""The Slack adapter as a web app: one door for everything Slack sends, Bolt behind it, the feed beside it.

Refuses unsigned, stale and oversize deliveries before anything parses them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from slack_bolt.adapter.fastapi.async_handler import AsyncSlackRequestHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

from adapters.slack.conversation import ARRIVED, Conversation
from adapters.slack.delivery import MAX_BODY, is_genuine
from adapters.slack.room import SlackRoom
from adapters.slack.settings import SlackSettings
from adapters.slack.tracing import TracedTransport, provider
from opsgate.client import Client
from opsgate.kit import Follower, Gateway, Notebook

BAD_TOKEN = "Opsgate's own Slack token was refused, so nothing was run. Ask the operator to check SLACK_BOT_TOKEN."
EDIT_EVERY_S = 1.0


def create_app(
    settings: SlackSettings, gateway: Gateway | None = None, *, edit_every_s: float = EDIT_EVERY_S
) -> FastAPI:
    """`gateway` stands in for the client of the gateway that the settings name."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with _running(settings, gateway, edit_every_s) as (app.state.follower, app.state.bolt):
            yield

    app = FastAPI(title="Opsgate for Slack", lifespan=lifespan, max_body_size=MAX_BODY, openapi_url=None)
    verifier = SignatureVerifier(settings.signing_secret.get_secret_value())

    @app.post("/slack/events")
    async def slack_events(request: Request) -> Response:
        """Slash commands, buttons and events: Slack's three kinds of delivery share one address."""
        arrived = time.time()
        if not is_genuine(verifier, await request.body(), request.headers):
            return JSONResponse({"error": "not signed by Slack within the last five minutes"}, 401)
        try:
            answer: Response = await app.state.bolt.handle(request, {ARRIVED: arrived})
        except (ValueError, AttributeError, TypeError, RecursionError):  # what Bolt's parser raises on odd JSON
            return JSONResponse({"error": "this is no delivery of a kind Slack documents"}, 400)
        return answer

    @app.get("/slack/events")
    async def certificate_check() -> Response:
        """Slack asks now and then whether the address answers (`ssl_check`); nothing else is done here."""
        return Response()

    @app.get("/healthz")
    async def healthz() -> dict[str, bool]:
        return {"ok": True}

    @app.get("/readyz")
    async def readyz() -> Response:
        trouble = app.state.follower.trouble
        feed = {"ok": not trouble, "detail": trouble or "following"}
        return JSONResponse({"ready": not trouble, "checks": {"feed": feed}}, 503 if trouble else 200)

    return app


@contextlib.asynccontextmanager
async def _running(
    settings: SlackSettings, gateway: Gateway | None, edit_every_s: float
) -> AsyncIterator[tuple[Follower, AsyncSlackRequestHandler]]:
    """Every part, started in order and stopped in the reverse one."""
    async with contextlib.AsyncExitStack() as stack:
        spans = provider(settings.otlp_endpoint)
        stack.callback(spans.shutdown)
        settings.state.parent.mkdir(parents=True, exist_ok=True)
        notebook = Notebook(settings.state)
        stack.callback(notebook.close)
        reached: Gateway = gateway if gateway is not None else await stack.enter_async_context(_client(settings))
        slack = _web_api(settings)
        room = SlackRoom(slack)
        loud = settings.loud_channel
        follower = Follower(reached, room, notebook, platform="slack", loud_channel=loud, edit_every_s=edit_every_s)
        stack.push_async_callback(follower.close)
        following = asyncio.create_task(follower.run())
        stack.push_async_callback(_stop, following)
        tracer = spans.get_tracer("adapters.slack")
        prefix = settings.response_url_prefix
        conversation = Conversation(reached, follower, room, tracer, response_url_prefix=prefix)
        yield follower, AsyncSlackRequestHandler(_bolt(settings, slack, conversation))


def _client(settings: SlackSettings) -> Client:
    return Client(settings.gateway_url, settings.adapter_token.get_secret_value(), transport=TracedTransport())


def _web_api(settings: SlackSettings) -> AsyncWebClient:
    """Without the SDK's own second tries: the kit tries again, and then with the newest state."""
    token = settings.bot_token.get_secret_value()
    return AsyncWebClient(token=token, base_url=settings.slack_api_url, timeout=10, retry_handlers=[])


def _bolt(settings: SlackSettings, slack: AsyncWebClient, conversation: Conversation) -> AsyncApp:
    bolt = AsyncApp(
        client=slack,
        signing_secret=settings.signing_secret.get_secret_value(),
        # A signed command may hold these words: it is a command, not a check of the certificate.
        ssl_check_enabled=False,
        user_facing_authorize_error_message=BAD_TOKEN,
    )
    conversation.listen(bolt)
    return bolt


async def _stop(running: asyncio.Task[None]) -> None:
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
