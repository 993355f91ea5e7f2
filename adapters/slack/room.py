"""Slack as the adapter kit sees it: posting, editing and replying through the Web API.

Refuses links and mentions (nothing is unfurled or linked by name), and gives up where Slack says it is no use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from adapters.slack import render
from opsgate.contracts.invocations import InvocationView
from opsgate.kit import SlowDown, Undeliverable

# Slack's own trouble, not ours: the same call may work in a moment. Everything else it refuses, it refuses for good.
_PASSING = frozenset({"internal_error", "fatal_error", "request_timeout", "service_unavailable", "team_added_to_org"})
_QUIET = {"unfurl_links": False, "unfurl_media": False}


class SlackRoom:
    """See `opsgate.kit.Room`. A message's id is `channel/ts`."""

    def __init__(self, slack: AsyncWebClient) -> None:
        self._slack = slack

    async def post(self, view: InvocationView) -> str:
        message = render.message(view.card, view.id)
        where = {"channel": view.context.channel, "thread_ts": view.context.thread or None}
        made = await self._call("chat.postMessage", **where, **message._asdict(), **_QUIET)
        return f"{made['channel']}/{made['ts']}"

    async def edit(self, message: str, view: InvocationView) -> None:
        channel, ts = message.split("/")
        await self._call("chat.update", channel=channel, ts=ts, **render.message(view.card, view.id)._asdict())

    async def reply(self, message: str, view: InvocationView, lines: Sequence[str]) -> None:
        channel, ts = message.split("/")
        thread = view.context.thread or ts
        await self._call(
            "chat.postMessage", channel=channel, thread_ts=thread, **render.log_lines(lines)._asdict(), **_QUIET
        )

    async def announce(self, channel: str, text: str) -> None:
        await self._call("chat.postMessage", channel=channel, **render.notice(text)._asdict(), **_QUIET)

    async def whisper(self, channel: str, thread: str, person: str, message: render.Message) -> None:
        """A message only one person sees. Best effort: Slack promises no more."""
        await self._call(
            "chat.postEphemeral", channel=channel, thread_ts=thread or None, user=person, **message._asdict()
        )

    async def _call(self, method: str, **fields: Any) -> dict[str, Any]:
        """One call of the Web API. The SDK's own answer to 429 misreads `Retry-After` over 9 seconds, so it is ours."""
        body = {"link_names": False, "parse": "none", **{k: v for k, v in fields.items() if v is not None}}
        try:
            answer = await self._slack.api_call(method, json=body)
        except SlackApiError as refused:
            raise _meaning(method, refused) from refused
        return dict(answer.data) if isinstance(answer.data, dict) else {}


def _meaning(method: str, refused: SlackApiError) -> Exception:
    """What Slack's no means to the kit: slower, never, or (as it is) try again."""
    answer = refused.response
    if not isinstance(answer, AsyncSlackResponse):
        return refused  # not even JSON: something before Slack answered
    code = answer.data.get("error", "") if isinstance(answer.data, dict) else ""
    if answer.status_code == 429 or code == "ratelimited":
        return SlowDown(_seconds(answer.headers.get("Retry-After", "")))
    if answer.status_code >= 500 or code in _PASSING:
        return refused
    return Undeliverable(f"{method}: {code or answer.status_code}")


def _seconds(retry_after: str) -> float:
    return float(retry_after) if retry_after.isdigit() else 1.0
