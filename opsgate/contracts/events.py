"""The feed: ordered events that adapters, the console and clients follow as Server-Sent Events."""

from __future__ import annotations

from typing import Literal

from opsgate.contracts.base import Contract, Timestamp
from opsgate.contracts.invocations import InvocationView, LogLine

EventType = Literal["invocation", "log", "notice"]


class FeedEvent(Contract):
    """`id` rises; give the last one seen as `Last-Event-ID` to go on from there. One of the three bodies is set.

    `invocation`: it changed, this is how it looks now. `log`: lines were added. `notice`: everybody in `channel` of
    `platform` should read it; both "": everybody everywhere.
    """

    id: int
    type: EventType
    at: Timestamp
    invocation_id: str | None = None
    invocation: InvocationView | None = None
    log: tuple[LogLine, ...] = ()
    notice: str | None = None
    platform: str = ""
    channel: str = ""
