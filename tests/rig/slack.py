"""Slack from the outside: its Web API on loopback, and its signed deliveries in the shapes Slack documents.

Knows nothing of the adapter. What it cannot show: Slack's own screens, its rate limits as they really are.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import uvicorn
from slack_sdk.signature import SignatureVerifier
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

WORKSPACE, APP = "T0ACME", "A0OPSGATE"
ALICE, BOB, CAROL, DAVE = "U0ALICE", "U0BOB", "U0CAROL", "U0DAVE"
CHANNEL = "C0PAYMENTS"
ADAPTER_TOKEN = "practice-slack-adapter-token"
"""The token whose SHA-256 stands in examples/acme/directory.yaml."""

JsonObject = dict[str, Any]
_numbers = itertools.count(1)


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """The app over real HTTP on a free loopback port, in a thread; gives its URL."""
    config = uvicorn.Config(app, port=0, log_level="warning", ws="none", timeout_graceful_shutdown=3)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("the app did not start on loopback; its log is above")
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


async def until(true: Callable[[], Any], within_s: float = 5.0) -> None:
    """Waits until it holds; fails when it does not in time."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.02)


@dataclass
class Call:
    """One call that Slack got: of a Web API method, or `response_url`."""

    method: str
    body: JsonObject
    at: float
    token: str


@dataclass
class SlackWebApi:
    """Keeps what it is told as a channel would. `refuse(method, …)` makes the next calls of a method fail."""

    calls: list[Call] = field(default_factory=list)
    messages: dict[tuple[str, str], list[JsonObject]] = field(default_factory=dict)
    url: str = ""
    _refusals: dict[str, deque[Response]] = field(default_factory=lambda: defaultdict(deque))

    @property
    def api_url(self) -> str:
        return f"{self.url}/api/"

    @property
    def response_url(self) -> str:
        return f"{self.url}/commands/{WORKSPACE}/1/abc"

    def of(self, method: str) -> list[JsonObject]:
        """The bodies of all calls of this method, oldest first."""
        return [c.body for c in self.calls if c.method == method]

    def texts(self, channel: str = CHANNEL) -> list[str]:
        """What stands in the channel now: the newest text of each message, threads left out."""
        return [v[-1]["text"] for (c, _), v in self.messages.items() if c == channel and not v[0].get("thread_ts")]

    def refuse(self, method: str, error: str, status: int = 200, retry_after: int | None = None) -> None:
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        self._refusals[method].append(JSONResponse({"ok": False, "error": error}, status, headers))

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/api/{method}", self._method, methods=["POST"]),
                Route("/commands/{rest:path}", self._response_url, methods=["POST"]),
            ]
        )

    async def _method(self, request: Request) -> Response:
        method = request.path_params["method"]
        is_json = request.headers.get("content-type", "").startswith("application/json")
        body: JsonObject = await request.json() if is_json else {}
        self.calls.append(Call(method, body, time.monotonic(), request.headers.get("authorization", "")))
        if self._refusals[method]:
            return self._refusals[method].popleft()
        if method == "auth.test":
            facts = {"team_id": WORKSPACE, "user_id": "U0OPSGATE", "bot_id": "B0OPSGATE", "app_id": APP}
            return JSONResponse(
                {"ok": True, "url": "https://acme.slack.com/", "team": "acme", "user": "opsgate", **facts}
            )
        if method == "chat.postMessage":
            ts = f"1700000000.{next(_numbers):06d}"
            self.messages[body["channel"], ts] = [body]
            return JSONResponse({"ok": True, "channel": body["channel"], "ts": ts})
        if method == "chat.update":
            if (body["channel"], body["ts"]) not in self.messages:
                return JSONResponse({"ok": False, "error": "message_not_found"})
            self.messages[body["channel"], body["ts"]].append(body)
            return JSONResponse({"ok": True, "channel": body["channel"], "ts": body["ts"]})
        if method == "chat.postEphemeral":
            return JSONResponse({"ok": True, "message_ts": "1700000000.000000"})
        return JSONResponse({"ok": False, "error": "unknown_method"})

    async def _response_url(self, request: Request) -> Response:
        self.calls.append(Call("response_url", await request.json(), time.monotonic(), ""))
        return Response("ok", media_type="text/plain")


@contextmanager
def web_api() -> Iterator[SlackWebApi]:
    """Slack's Web API, listening on loopback."""
    slack = SlackWebApi()
    with serving(slack.app()) as url:
        slack.url = url
        yield slack


@dataclass(frozen=True)
class Delivery:
    """A request as Slack sends it: the body byte for byte, and its headers."""

    body: str
    headers: dict[str, str]


@dataclass
class Sender:
    """Slack as the one who signs. Every delivery has a trigger of its own."""

    secret: str
    response_url: str = "https://hooks.slack.com/commands/T0ACME/1/abc"
    workspace: str = WORKSPACE
    app: str = APP

    def sign(self, body: str, *, at: float | None = None, form: bool = True) -> Delivery:
        stamp = str(int(time.time() if at is None else at))
        signature = SignatureVerifier(self.secret).generate_signature(timestamp=stamp, body=body)
        kind = "application/x-www-form-urlencoded" if form else "application/json"
        headers = {"content-type": kind, "x-slack-request-timestamp": stamp, "x-slack-signature": str(signature)}
        return Delivery(body, headers)

    def command(self, text: str, person: str = ALICE, *, channel: str = CHANNEL, at: float | None = None) -> Delivery:
        """`/ops <text>`, typed by this person."""
        fields = {
            "team_id": self.workspace,
            "team_domain": "acme",
            "channel_id": channel,
            "channel_name": "payments",
            "user_id": person,
            "user_name": "somebody",
            "command": "/ops",
            "text": text,
            "api_app_id": self.app,
            "is_enterprise_install": "false",
            "response_url": self.response_url,
            "trigger_id": f"1.2.{next(_numbers)}",
        }
        return self.sign(urlencode(fields), at=at)

    def press(
        self, button: JsonObject, person: str, *, channel: str = CHANNEL, ts: str = "1700000000.000001"
    ) -> Delivery:
        """A press on a button as it stands in a message's blocks."""
        now = time.time()
        payload: JsonObject = {
            "type": "block_actions",
            "user": {"id": person, "username": "somebody", "name": "somebody", "team_id": self.workspace},
            "api_app_id": self.app,
            "container": {"type": "message", "message_ts": ts, "channel_id": channel, "is_ephemeral": False},
            "trigger_id": f"1.2.{next(_numbers)}",
            "team": {"id": self.workspace, "domain": "acme"},
            "enterprise": None,
            "is_enterprise_install": False,
            "channel": {"id": channel, "name": "payments"},
            "message": {"type": "message", "ts": ts},
            "state": {"values": {}},
            "response_url": self.response_url,
            "actions": [{k: button[k] for k in ("action_id", "text", "value", "type")} | {"action_ts": f"{now:.6f}"}],
        }
        return self.sign(urlencode({"payload": json.dumps(payload)}))

    def mention(self, text: str, person: str = ALICE, *, thread: str = "", **event: Any) -> Delivery:
        """`@opsgate <text>`, in a thread or not."""
        said = {"type": "app_mention", "user": person, "text": f"<@U0OPSGATE> {text}", "ts": "1700000001.000001"}
        body = {
            "team_id": self.workspace,
            "api_app_id": self.app,
            "type": "event_callback",
            "event_id": f"Ev{next(_numbers)}",
            "event_time": int(time.time()),
            "event": said | {"channel": CHANNEL} | ({"thread_ts": thread} if thread else {}) | event,
            "authorizations": [{"team_id": self.workspace, "user_id": "U0OPSGATE", "is_bot": True}],
        }
        return self.sign(json.dumps(body), form=False)


def buttons(blocks: list[JsonObject]) -> dict[str, JsonObject]:
    """The buttons of a message by their label."""
    return {e["text"]["text"]: e for b in blocks if b["type"] == "actions" for e in b["elements"]}
