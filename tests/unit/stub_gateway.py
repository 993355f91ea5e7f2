"""A gateway that answers what a test tells it to, over real HTTP on a loopback port. Decides nothing by itself."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from opsgate.contracts.base import Contract
from opsgate.contracts.events import FeedEvent
from opsgate.contracts.invocations import InvocationView, LogLine, State
from opsgate.contracts.problems import CONTENT_TYPE
from tests.contracts.shapes import GOLDEN, SHAPES


@dataclass(frozen=True)
class Reply:
    """What to answer. `after_s`: seconds to wait first. `broken`: the connection ends in the middle of the answer."""

    content: Contract | dict[str, Any] | str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    after_s: float = 0
    broken: bool = False


@dataclass(frozen=True)
class Stream:
    """A feed: `chunks` as they are sent. `stays`: it is held open after them, until the reader leaves."""

    chunks: tuple[bytes, ...]
    stays: bool = False


@dataclass(frozen=True)
class Seen:
    """One call as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


class StubGateway:
    """`seen`: every call so far. `when` says what a path answers, in turn; the last answer is repeated."""

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[Seen] = []
        self._answers: dict[tuple[str, str], list[Reply | Stream]] = defaultdict(list)

    def forget(self) -> None:
        """A new test begins."""
        self.seen.clear()
        self._answers.clear()

    def when(self, method: str, path: str, *answers: Reply | Stream) -> None:
        self._answers[method, path] = list(answers)

    def calls(self, path: str) -> list[Seen]:
        return [call for call in self.seen if call.path == path]

    async def answer(self, request: Request) -> Response:
        body = await request.body()
        self.seen.append(
            Seen(
                request.method,
                request.url.path,
                dict(request.query_params),
                dict(request.headers),
                json.loads(body) if body else None,
            )
        )
        answers = self._answers[request.method, request.url.path]
        if not answers:
            return _sent(problem("not_found", 404, f"There is no {request.url.path}."))
        told = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(told, Stream):
            return StreamingResponse(_chunks(told), media_type="text/event-stream")
        await asyncio.sleep(told.after_s)
        return _sent(told)


@contextmanager
def serve() -> Iterator[StubGateway]:
    """A stub on a free loopback port, gone at the end."""
    stub = StubGateway()
    app = Starlette(routes=[Route("/{path:path}", stub.answer, methods=["GET", "POST", "DELETE"])])
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, log_level="critical", ws="none"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stub.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            deadline = time.monotonic() + 10
            while not server.started:
                assert time.monotonic() < deadline, "The stub did not start within 10 s."
                time.sleep(0.005)
            yield stub
        finally:
            server.should_exit = server.force_exit = True
            thread.join(timeout=10)


def golden(name: str) -> Any:
    """The golden example of a shape, parsed."""
    return SHAPES[name].model_validate_json((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


def view(state: State = State.RUNNING, version: int = 5, **card: Any) -> InvocationView:
    """The golden Invocation in another state; `card` fields change its card."""
    example: InvocationView = golden("invocation_view")
    shown = example.card.model_copy(update=card)
    return example.model_copy(update={"state": state, "version": version, "card": shown})


def changed(number: int, invocation: InvocationView) -> FeedEvent:
    example: FeedEvent = golden("feed_event")
    told = {"id": number, "type": "invocation", "invocation": invocation, "log": (), "notice": None}
    return example.model_copy(update=told)


def logged(number: int, *lines: tuple[int, str]) -> FeedEvent:
    example: FeedEvent = golden("feed_event")
    log = tuple(LogLine(seq=seq, at=example.at, text=text) for seq, text in lines)
    return example.model_copy(update={"id": number, "type": "log", "invocation": None, "log": log, "notice": None})


def sse(*events: FeedEvent) -> bytes:
    """Events as the gateway writes them."""
    return b"".join(f"id: {e.id}\nevent: {e.type}\ndata: {e.model_dump_json()}\n\n".encode() for e in events)


def problem(code: str, status: int, detail: str, headers: dict[str, str] | None = None, **more: Any) -> Reply:
    body = {"type": f"/problems/{code}", "title": code, "status": status, "code": code, "detail": detail, **more}
    return Reply(json.dumps(body), status, {"content-type": CONTENT_TYPE, **(headers or {})})


async def _chunks(stream: Stream) -> AsyncIterator[bytes]:
    for chunk in stream.chunks:
        yield chunk
        await asyncio.sleep(0.002)
    while stream.stays:
        await asyncio.sleep(0.05)
        yield b": keep-alive\n\n"


def _sent(told: Reply) -> Response:
    content = told.content
    text = content if isinstance(content, str) else None
    if isinstance(content, Contract):
        text = content.model_dump_json(by_alias=True)
    body = (json.dumps(content) if text is None else text).encode()
    headers = {"content-type": "application/json", **told.headers}
    if told.broken:
        return StreamingResponse(_half(), headers={**headers, "content-length": str(len(body) + 100)})
    return Response(body, told.status, headers)


async def _half() -> AsyncIterator[bytes]:
    yield b"{"
