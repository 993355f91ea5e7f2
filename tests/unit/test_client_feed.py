"""Reading the feed: whatever the network does to the bytes, the events are the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsgate import feed
from opsgate.contracts.events import FeedEvent
from opsgate.errors import BadAnswer
from tests.unit.stub_gateway import changed, logged, sse, view

EVENTS = (changed(1, view(title="Grüße ☃ \u2028 𝄞")), logged(2, (1, "line\none"), (2, "")), changed(7, view()))
STREAM = b": keep-alive\n\n" + sse(*EVENTS)
LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


class Bytes(httpx2.AsyncByteStream):
    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk


def read(*chunks: bytes, content_type: str = "text/event-stream") -> list[FeedEvent]:
    """The events of an answer that arrives in these chunks."""
    response = httpx2.Response(
        200,
        headers={"content-type": content_type},
        stream=Bytes(list(chunks)),
        request=httpx2.Request("GET", "http://gateway/v1/events"),
    )

    async def all_of() -> list[FeedEvent]:
        return [event async for event in feed.read(response)]

    return asyncio.run(all_of())


def data(event: FeedEvent) -> bytes:
    return event.model_dump_json().encode()


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=40), end=LINE_ENDS)
def test_the_events_are_the_same_wherever_the_bytes_are_cut(cuts: list[int], end: bytes) -> None:
    """In the middle of a line end, of a letter of four bytes, of a name: all chunkings and line ends are equal."""
    stream = STREAM.replace(b"\n", end)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[a:b] for a, b in pairwise(places)]
    assert read(*chunks) == list(EVENTS)


def test_every_single_byte_may_be_a_chunk_of_its_own() -> None:
    """The slowest network there is."""
    assert read(*(bytes([byte]) for byte in STREAM.replace(b"\n", b"\r\n"))) == list(EVENTS)


def test_data_over_several_lines_is_one_event() -> None:
    """The standard joins `data` lines with a line end; JSON does not mind one between its tokens."""
    body = data(EVENTS[0])
    assert body.startswith(b'{"id"')
    assert read(b"event: invocation\ndata: {\ndata:" + body[1:] + b"\n\n") == [EVENTS[0]]


def test_comments_unknown_fields_and_unknown_events_are_passed_over() -> None:
    """A newer gateway may say more than this client knows."""
    assert read(
        b"\xef\xbb\xbf: hello\n\nretry: 10\n\nid: 5\n\nevent: weather\ndata: rain\n\n",
        b"colour: red\nevent: notice\ndata: ",
        data(EVENTS[0]),
        b"\n\n",
    ) == [EVENTS[0]]


def test_an_event_that_is_not_complete_is_dropped() -> None:
    """The connection broke in it; it comes again after Last-Event-ID."""
    assert read(STREAM[:-1]) == list(EVENTS[:-1])


@pytest.mark.parametrize("body", [b"{}", b"no json", b'{"id": 1, "surprise": 2}'])
def test_data_that_is_no_feed_event_is_an_error_that_says_so(body: bytes) -> None:
    """Never passed on, never skipped in silence."""
    with pytest.raises(BadAnswer, match="same version"):
        read(b"event: log\ndata: " + body + b"\n\n")


def test_an_answer_that_is_no_event_stream_is_refused() -> None:
    """A login page of a proxy, for example."""
    with pytest.raises(BadAnswer, match="text/html"):
        read(b"<html>", content_type="text/html")


def test_an_event_without_end_is_refused() -> None:
    """It would fill the memory."""
    with pytest.raises(BadAnswer, match="limit"):
        read(b"data: ", *[b"x" * 65536] * 17)
