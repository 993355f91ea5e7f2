"""What the Slack tests share: a scripted gateway at the adapter's port, and Invocations to show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2

from adapters.slack.app import create_app
from adapters.slack.settings import SlackSettings
from opsgate.contracts.base import Effect, PrincipalKind
from opsgate.contracts.decisions import Decision, NextAction, Verdict
from opsgate.contracts.events import FeedEvent
from opsgate.contracts.invocations import (
    Answer,
    CancelInvocation,
    CastVote,
    ChatContext,
    InvocationView,
    LogLine,
    Person,
    SendMessage,
    State,
    Target,
)
from opsgate.contracts.messages import Button, Card, Tone
from opsgate.errors import OpsgateError
from tests.rig.slack import CHANNEL, Delivery, Sender, SlackWebApi

HASH = "sha256:" + "a" * 64
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
TONES: dict[State, Tone] = {State.PENDING: "waiting", State.RUNNING: "running", State.FAILED: "failure"}
Body = SendMessage | CastVote | CancelInvocation


def card(text: str, tone: Tone = "info", **more: Any) -> Card:
    return Card(tone=tone, title="deploy api-service (production)", text=text, **more)


def button(action: Any, label: str) -> Button:
    style: Any = {"approve": "primary", "reject": "danger"}.get(action, "plain")
    return Button(
        action=action, label=label, style=style, confirm=f"{label} it?", command=f"{action} inv_1", binding_hash=HASH
    )


BUTTONS = (button("approve", "Approve"), button("reject", "Reject"), button("cancel", "Cancel"))


def invocation(
    text: str = "Waits for 1 approval.",
    version: int = 1,
    state: State = State.PENDING,
    *,
    name: str = "inv_1",
    channel: str = CHANNEL,
    thread: str = "",
    platform: str = "slack",
) -> InvocationView:
    """An Invocation whose card says `text`; buttons stand on it while it waits."""
    decision = Decision(
        id="dec_1",
        effect=Verdict.PENDING,
        phase="request",
        request_hash=HASH,
        input_digest=HASH,
        revision="r1",
        evaluated_at=NOW,
        next_action=NextAction.APPROVE,
    )
    return InvocationView(
        id=name,
        state=state,
        version=version,
        text="deploy production api-service",
        command="deploy",
        effect=Effect.WRITE,
        args={},
        target=Target(service="api-service", environment="production"),
        reason="",
        ticket="",
        break_glass="",
        requested_by=Person(id="alice", name="Alice", kind=PrincipalKind.HUMAN),
        platform=platform,
        context=ChatContext(channel=channel, channel_kind="public", thread=thread),
        visibility="channel",
        created_at=NOW,
        updated_at=NOW,
        expires_at=None,
        binding_hash=HASH,
        decision=decision,
        votes=(),
        job=None,
        outcome=None,
        trace_id="0" * 32,
        card=card(text, TONES.get(state, "success"), buttons=BUTTONS if state is State.PENDING else ()),
    )


def public(view: InvocationView) -> Answer:
    return Answer(kind="invocation", private=False, card=view.card, invocation=view)


def private(text: str, kind: Any = "help") -> Answer:
    return Answer(kind=kind, private=True, card=card(text))


@dataclass
class FakeGateway:
    """Plays what a test scripted: an answer or an error for each call, and a feed the test fills with `tell`."""

    script: dict[str, Answer | OpsgateError] = field(default_factory=dict)
    heard: list[tuple[str, Body, str]] = field(default_factory=list)
    known: dict[str, InvocationView] = field(default_factory=dict)
    followed_from: list[int | None] = field(default_factory=list)
    slow: asyncio.Event | None = None
    feed: asyncio.Queue[FeedEvent | OpsgateError] = field(default_factory=asyncio.Queue)
    last: int = 0

    async def _answer(self, call: str, body: Body, key: str | None) -> Answer:
        self.heard.append((call, body, str(key)))
        if self.slow is not None:
            await self.slow.wait()
        answer = self.script[call]
        if isinstance(answer, OpsgateError):
            raise answer
        return answer

    async def send_message(self, body: SendMessage, *, key: str | None = None) -> Answer:
        return await self._answer("say", body, key)

    async def vote(self, invocation_id: str, body: CastVote, *, key: str | None = None) -> Answer:
        return await self._answer(f"{body.verdict} {invocation_id}", body, key)

    async def cancel(self, invocation_id: str, body: CancelInvocation, *, key: str | None = None) -> Answer:
        return await self._answer(f"cancel {invocation_id}", body, key)

    async def invocation(self, invocation_id: str) -> InvocationView:
        return self.known[invocation_id]

    async def events(self, *, last_event_id: int | None = None) -> AsyncIterator[FeedEvent]:
        self.followed_from.append(last_event_id)
        while True:
            event = await self.feed.get()
            if isinstance(event, OpsgateError):
                raise event
            yield event

    def tell(self, view: InvocationView, *log: str) -> None:
        """Puts a change, or new log lines, on the feed."""
        self.last += 1
        lines = tuple(LogLine(seq=n, at=NOW, text=t) for n, t in enumerate(log, start=1))
        kind: Any = "log" if log else "invocation"
        self.feed.put_nowait(
            FeedEvent(id=self.last, type=kind, at=NOW, invocation_id=view.id, invocation=view, log=lines)
        )


def settings(slack: SlackWebApi, state: Path, **changed: Any) -> SlackSettings:
    values: dict[str, Any] = {
        "signing_secret": SECRET,
        "bot_token": "xoxb-loopback",
        "gateway_url": "http://127.0.0.1:1",
        "adapter_token": "an-adapter-token-of-some-length",
        "slack_api_url": slack.api_url,
        "response_url_prefix": f"{slack.url}/",
        "state": state,
    }
    return SlackSettings(**{**values, **changed})


@dataclass
class House:
    """A running adapter between the scripted gateway and the loopback Slack."""

    gateway: FakeGateway
    slack: SlackWebApi
    sender: Sender
    http: httpx2.AsyncClient

    async def deliver(self, delivery: Delivery, **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(
            "/slack/events", content=delivery.body.encode(), headers={**delivery.headers, **named}
        )


@asynccontextmanager
async def house(slack: SlackWebApi, state: Path, gateway: FakeGateway, **changed: Any) -> AsyncIterator[House]:
    """The adapter as it runs, in this loop. Leaving it is a stop; entering it again with the same state, a restart."""
    app = create_app(settings(slack, state, **changed), gateway, edit_every_s=0.1)
    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://slack") as http,
    ):
        yield House(gateway, slack, Sender(SECRET, slack.response_url), http)
