"""What people do in Slack, carried to the gateway, and its answers carried back: commands, mentions, buttons.

Refuses to name a person or to judge: every call carries the signed request as evidence, and the gateway reads it.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import httpx2
from opentelemetry.trace import Tracer
from pydantic import ValidationError
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltRequest
from slack_sdk.webhook.async_client import AsyncWebhookClient

from adapters.slack import render
from adapters.slack.delivery import evidence, key
from adapters.slack.room import SlackRoom
from opsgate.contracts.invocations import Answer, CancelInvocation, CastVote, ChatContext, SendMessage
from opsgate.contracts.messages import Card
from opsgate.errors import GatewayRefused, GatewayUnreachable, OpsgateError
from opsgate.kit import Follower, Gateway, Undeliverable

log = logging.getLogger(__name__)

ACK_S = 2.5
"""Seconds after a delivery's arrival by which Slack has its answer; after 3 it tells people that something broke."""
ARRIVED = "opsgate_arrived"
"""Where the app notes in Bolt's context when a delivery came (Unix time)."""

UNREACHABLE = "Opsgate can't be reached; nothing was run. Try again in a minute."
SILENT = "Opsgate did not answer in time, but it may have taken this. Look with “history” before you try again."
WORKING = "Working on it. The answer comes here."
STRANGE_BUTTON = "This button is not one of Opsgate's, or an old one. Type the command instead."
NOT_HERE = "Opsgate cannot write in this channel, so only you see this. Invite it (/invite), and it shows everybody."

_MENTION = re.compile(r"\s*<@[A-Z0-9]{1,32}(?:\|[^>]{0,80})?>\s*")
_CHANNEL_KINDS = {"C": "public", "G": "private", "D": "dm"}

T = TypeVar("T")
Say = Callable[[Card, str], Awaitable[None]]
"""Shows a card, with its Invocation's id, to the one person who spoke."""


class Conversation:
    """Bolt's listeners. `response_url_prefix`: late answers go only to addresses that start with it."""

    def __init__(
        self,
        gateway: Gateway,
        follower: Follower,
        room: SlackRoom,
        tracer: Tracer,
        *,
        response_url_prefix: str,
        ack_s: float = ACK_S,
    ) -> None:
        self._gateway = gateway
        self._follower = follower
        self._room = room
        self._tracer = tracer
        self._response_url_prefix = response_url_prefix
        self._ack_s = ack_s

    def listen(self, bolt: AsyncApp) -> None:
        """Takes every slash command, button and mention that reaches this app."""
        bolt.command(re.compile(r".*"))(self.command)
        bolt.action(re.compile(r".*"))(self.button)
        bolt.event("app_mention")(self.mention)

    async def command(self, ack: AsyncAck, body: dict[str, Any], request: AsyncBoltRequest) -> None:
        """A slash command: answered at once when the gateway is quick, else acknowledged and answered later."""
        arrived = float(request.context.get(ARRIVED) or time.time())
        line = str(body.get("text", ""))
        said = self._said(line, _context(body["channel_id"]), request)
        asking = asyncio.create_task(
            self._ask("slack.command", said, lambda m: self._gateway.send_message(m, key=_command_key(body)))
        )
        await asyncio.wait({asking}, timeout=max(0.0, arrived + self._ack_s - time.time()))
        if not asking.done():
            await ack(text=WORKING, response_type="ephemeral")
            await self._deliver(await asking, arrived, body["channel_id"], self._by_response_url(body))
            return

        async def at_once(card: Card, invocation_id: str) -> None:
            message = render.message(card, invocation_id)
            await ack(text=message.text, blocks=message.blocks, response_type="ephemeral")

        answer = asking.result()
        if self._is_public(answer, body["channel_id"]):
            await ack()
            await self._deliver(answer, arrived, body["channel_id"], self._by_response_url(body))
        else:
            await self._deliver(answer, arrived, body["channel_id"], at_once)

    async def mention(self, event: dict[str, Any], body: dict[str, Any], request: AsyncBoltRequest) -> None:
        """A line that starts with the app's name; the way to speak in threads, where Slack has no slash commands."""
        if event.get("bot_id"):
            return  # bots that answer each other never stop
        channel, thread = str(event["channel"]), str(event.get("thread_ts", ""))
        line = _MENTION.sub("", str(event["text"]), count=1)
        said = self._said(line, _context(channel, thread), request)
        name = key("event", body.get("team_id"), body.get("event_id"))
        answer = await self._ask("slack.mention", said, lambda m: self._gateway.send_message(m, key=name))

        async def whisper(card: Card, invocation_id: str) -> None:
            await self._room.whisper(channel, thread, str(event["user"]), render.message(card, invocation_id))

        await self._deliver(answer, float(request.context.get(ARRIVED) or time.time()), channel, whisper)

    async def button(
        self, ack: AsyncAck, body: dict[str, Any], action: dict[str, Any], request: AsyncBoltRequest
    ) -> None:
        """Approve, Reject or Cancel on a card, or a link. Who pressed it is read from the evidence, by the gateway."""
        await ack()
        if str(action.get("action_id", "")).startswith(render.OPENED):
            return  # their browser opened the page
        channel = str((body.get("channel") or {}).get("id") or (body.get("container") or {}).get("channel_id", ""))
        say = self._by_response_url(body)
        pressed = render.pressed(str(action.get("action_id", "")), str(action.get("value", "")))
        if pressed is None:
            await say(_trouble("Not a button of mine", STRANGE_BUTTON), "")
            return
        verb, what = pressed
        proof = evidence(request.raw_body, request.headers)
        name = key("press", body.get("trigger_id"), action.get("action_ts"), action.get("action_id"))
        if verb == "cancel":
            stop = CancelInvocation(evidence=proof)
            answer = await self._ask("slack.cancel", stop, lambda b: self._gateway.cancel(what.id, b, key=name))
        else:
            ballot = CastVote(verdict=verb, binding_hash=what.binding_hash, evidence=proof)
            answer = await self._ask("slack.vote", ballot, lambda b: self._gateway.vote(what.id, b, key=name))
        if self._is_public(answer, channel) and answer.invocation is not None:
            self._follower.put(answer.invocation)
        else:
            await self._deliver(answer, time.time(), channel, say)

    def _said(self, line: str, context: ChatContext, request: AsyncBoltRequest) -> SendMessage | None:
        try:
            return SendMessage(text=line, context=context, evidence=evidence(request.raw_body, request.headers))
        except ValidationError:
            return None

    async def _ask(self, what: str, body: T | None, call: Callable[[T], Coroutine[Any, Any, Answer]]) -> Answer:
        """The gateway's answer, or the trouble in words."""
        if body is None:
            return _refusal(_trouble("Too long", "A command has at most 4096 characters. Shorten it."))
        try:
            with self._tracer.start_as_current_span(what):
                return await call(body)
        except GatewayRefused as refused:
            problem = refused.problem
            examples = tuple(filter(None, (problem.suggestion, *problem.examples)))
            return _refusal(_trouble(problem.title, problem.detail).model_copy(update={"examples": examples}))
        except GatewayUnreachable as gone:
            log.warning("the gateway cannot be reached: %s", gone)
            never_sent = isinstance(gone.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout)
            return _refusal(_trouble("Opsgate does not answer", UNREACHABLE if never_sent else SILENT))
        except OpsgateError as wrong:
            log.error("the gateway's answer cannot be used: %s", wrong)
            return _refusal(_trouble("Opsgate does not answer", SILENT))

    def _is_public(self, answer: Answer, channel: str) -> bool:
        inv = answer.invocation
        return not answer.private and inv is not None and self._follower.ours(inv) and inv.context.channel == channel

    async def _deliver(self, answer: Answer, arrived: float, channel: str, say: Say) -> None:
        """Shows an Invocation as its one message, and everything else to the one who spoke."""
        inv = answer.invocation
        if inv is None or not self._is_public(answer, channel):
            await self._tell(say, answer.card, inv.id if inv else "")
            return
        try:
            stood_since = await self._follower.show(inv)
        except Undeliverable:
            footer = f"{answer.card.footer}\n{NOT_HERE}".strip()
            await self._tell(say, answer.card.model_copy(update={"footer": footer}), inv.id)
            return
        if stood_since < arrived:  # the message is further up: the one who spoke would see nothing happen
            await self._tell(say, answer.card, inv.id)

    async def _tell(self, say: Say, card: Card, invocation_id: str) -> None:
        try:
            await say(card, invocation_id)
        except Exception as lost:  # whatever Slack did, the command stands and its state is known to the gateway
            log.warning("an answer to one person was not delivered: %s", type(lost).__name__)

    def _by_response_url(self, body: dict[str, Any]) -> Say:
        url = str(body.get("response_url", ""))

        async def say(card: Card, invocation_id: str) -> None:
            if not url.startswith(self._response_url_prefix):
                log.error("a response_url outside %s was not called", self._response_url_prefix)
                return
            message = render.message(card, invocation_id)
            webhook = AsyncWebhookClient(url, timeout=10)
            await webhook.send(
                text=message.text, blocks=message.blocks, response_type="ephemeral", replace_original=False
            )

        return say


def _command_key(body: dict[str, Any]) -> str:
    return key("command", body.get("team_id"), body.get("trigger_id"))


def _context(channel: str, thread: str = "") -> ChatContext:
    kind: Any = _CHANNEL_KINDS.get(channel[:1], "private")
    return ChatContext(channel=channel, channel_kind=kind, thread=thread)


def _trouble(title: str, text: str) -> Card:
    return Card(tone="failure", title=title, text=text)


def _refusal(card: Card) -> Answer:
    return Answer(kind="refusal", private=True, card=card)
