"""The gateway's event stream as FeedEvents: one connection, from the answer's first byte to its end.

Refuses to reconnect (`Client.events` does) and to read anything that is not an event stream.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import get_args

import httpx2
from pydantic import ValidationError

from opsgate.contracts.events import EventType, FeedEvent
from opsgate.errors import BadAnswer

_KNOWN = frozenset(get_args(EventType))


async def read(response: httpx2.Response) -> AsyncGenerator[FeedEvent, None]:
    """The events of an open answer, as each one is complete; a half one at the end is dropped, as the standard says.

    Events of other names are passed over. Raises BadAnswer on another content type, an event over 1 MiB or data that
    is no FeedEvent; httpx2.TransportError when the connection breaks.
    """
    # The standard: always UTF-8, one leading byte order mark is not part of it.
    response.encoding = "utf-8-sig"
    try:
        async for event in httpx2.EventSource(response):
            # An event without data (a bare `id:` or `retry:`) is none.
            if event.event in _KNOWN and event.data:
                yield FeedEvent.model_validate_json(event.data)
    except httpx2.SSEError as why:
        raise BadAnswer(f"The feed cannot be read: {why} Check the gateway's URL and the proxies before it.") from why
    except ValidationError as why:
        first = why.errors(include_url=False)[0]
        raise BadAnswer(
            f"The feed sent an event this client does not know ({first['msg']}). Bring both to the same version."
        ) from why
