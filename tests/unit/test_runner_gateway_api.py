"""The worker's side of the worker API, against a real HTTP server on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from opentelemetry import propagate, trace

from dev.processes import free_port
from opsgate.contracts.jobs import Announce, ClaimJob, JobProgress, JobReport
from workers.gateway_api import GatewayApi, GatewayTrouble

CLAIM = ClaimJob(worker="worker-a", job="inv_1", ticket="signed")


class Server(ThreadingHTTPServer):
    """Answers what `answers` holds, in turn; keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Recorder)
        self.answers: list[tuple[int, Any]] = []
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Recorder(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        status, answer = self.server.answers.pop(0)
        content = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def api(server: Server, pauses: list[float]) -> Iterator[GatewayApi]:
    made = GatewayApi(server.url, "t0ken", sleep=pauses.append)
    yield made
    made.close()


def test_every_call_goes_to_its_place_with_the_token(server: Server, api: GatewayApi) -> None:
    """Announce, claim, progress, report."""
    server.answers = [
        (204, None),
        (200, {"verdict": "skip", "why": "done"}),
        (200, {"held": True, "cancel": False}),
        (200, {"accepted": True}),
    ]
    api.announce(Announce(worker="worker-a", operations=()))
    assert api.claim(CLAIM).verdict == "skip"
    assert api.progress("inv_1", JobProgress(worker="worker-a", fence=1)).held
    assert api.report("inv_1", JobReport(worker="worker-a", fence=1, result="failed")).accepted
    assert [path for path, _, _ in server.asked] == [
        "/worker/v1/announce",
        "/worker/v1/claims",
        "/worker/v1/jobs/inv_1/progress",
        "/worker/v1/jobs/inv_1/report",
    ]
    assert {headers["authorization"] for _, headers, _ in server.asked} == {"Bearer t0ken"}


def test_a_busy_gateway_is_asked_again_with_growing_pauses(
    server: Server, api: GatewayApi, pauses: list[float]
) -> None:
    """503 says that nothing was done."""
    server.answers = [(503, {}), (503, {}), (200, {"accepted": True})]
    assert api.report("inv_1", JobReport(worker="worker-a", fence=1, result="failed")).accepted
    assert len(pauses) == 2
    assert pauses[0] < pauses[1] < 1


def test_it_gives_up_after_a_few_tries(server: Server, api: GatewayApi, pauses: list[float]) -> None:
    """Somebody is woken again later."""
    server.answers = [(503, {"detail": "store away"})] * 4
    with pytest.raises(GatewayTrouble, match=r"answered 503 to claims: .*store away"):
        api.claim(CLAIM)
    assert len(pauses) == 3


def test_no_connection_is_tried_again_and_then_said(pauses: list[float]) -> None:
    """With the setting to check."""
    api = GatewayApi(f"http://127.0.0.1:{free_port()}", "t0ken", sleep=pauses.append)
    with pytest.raises(GatewayTrouble, match="check OPSGATE_GATEWAY_URL"):
        api.claim(CLAIM)
    assert len(pauses) == 3
    api.close()


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (401, {}, "same OPSGATE_WORKER_TOKEN"),
        (404, {"detail": "no such job"}, "answered 404 to claims: .*no such job"),
        (500, {}, "answered 500"),
        (302, {}, "answered 302"),
        (200, {"verdict": "perhaps"}, "run gateway and workers of one version"),
    ],
)
def test_any_other_answer_is_said_and_not_repeated(
    server: Server, api: GatewayApi, status: int, answer: Any, words: str
) -> None:
    """It would not get better."""
    server.answers = [(status, answer)]
    with pytest.raises(GatewayTrouble, match=words):
        api.claim(CLAIM)
    assert len(server.asked) == 1


def test_the_trace_goes_along(server: Server, api: GatewayApi) -> None:
    """W3C trace context, as it came with the message."""
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    server.answers = [(200, {"verdict": "skip", "why": "done"})]
    with trace.get_tracer("test").start_as_current_span("job", propagate.extract({"traceparent": traceparent})):
        api.claim(CLAIM)
    assert server.asked[0][1]["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-")
