"""Log lines and metrics: both ids on every line, one line each, and labels that nobody outside can make up."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog
from fastapi import FastAPI
from opentelemetry import trace
from pydantic import SecretStr

from gateway.domain.arguments import Options
from gateway.flows.drafting import Ask
from gateway.flows.submit import submit
from gateway.house import House
from gateway.infra.telemetry import Telemetry, TracedDispatcher, about, current_traceparent, set_up_logs
from gateway.main import create_app
from gateway.settings import Settings
from gateway.wiring import build
from opsgate.contracts.invocations import ChatContext
from tests.unit.gateway.scene import Scene, empty_store, needs, scene_in

TRACE = "0af7651916cd43dd8448eb211c80319c"
CARRIED = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
INVOCATION = "inv_0123456789"
log = structlog.get_logger("opsgate.tests")


class Lines:
    """What was written to the log since the last look, each line as it would be read by a machine."""

    def __init__(self, written: pytest.CaptureFixture[str]) -> None:
        self._written = written

    def take(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._written.readouterr().err.splitlines()]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """Logging as in a gateway, put back afterwards."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    set_up_logs("info")
    yield Lines(capsys)
    structlog.configure(**before)
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    made = Telemetry("gateway-1", "")
    yield made
    made.close()


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """HTTP without a server, so that a test may send what a server would refuse."""
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[tuple[httpx2.AsyncClient, House]]:
    """The whole application of the embedded profile, without its background loops and without a policy engine."""
    settings = Settings(profile="embedded", data_dir=tmp_path, worker_token=SecretStr("w" * 32))
    house = build(settings)
    async with client_of(create_app(settings, house)) as client:
        yield client, house
    await house.close()


def as_(person: str, house: House, **headers: str) -> dict[str, str]:
    token, _ = house.keys.persona_token(person)
    return {"Authorization": f"Bearer {token}", "Idempotency-Key": "k1", **headers}


# ---- log lines -----------------------------------------------------------------------------------------------------


def test_every_line_has_both_ids_though_nothing_is_known(lines: Lines) -> None:
    """Ours and a library's: the same fields, so that one search finds all."""
    log.info("started", port=8420)
    logging.getLogger("sqlalchemy.pool").warning("connection %s lost", 7)
    ours, theirs = lines.take()
    for line in (ours, theirs):
        assert {"event", "level", "timestamp", "trace_id", "invocation_id"} <= line.keys()
        assert (line["trace_id"], line["invocation_id"]) == ("", "")
    assert (ours["port"], theirs["event"]) == (8420, "connection 7 lost")


def test_what_is_logged_inside_a_span_carries_its_trace_and_invocation(lines: Lines, telemetry: Telemetry) -> None:
    """Also a library's lines; and nothing of it hangs on to what is logged after it."""
    with telemetry.span("HTTP", CARRIED, invocation_id=INVOCATION):
        log.warning("ours")
        logging.getLogger("anything").error("theirs")
        with telemetry.span("opa decide", {}, invocation_id=INVOCATION):
            log.info("deeper")
        log.info("back again")
    log.info("after")
    *inside, after = lines.take()
    assert len(inside) == 4
    assert {(line["trace_id"], line["invocation_id"]) for line in inside} == {(TRACE, INVOCATION)}
    assert (after["trace_id"], after["invocation_id"]) == ("", "")


def test_an_invocation_that_is_only_made_inside_is_named_from_then_on(lines: Lines, telemetry: Telemetry) -> None:
    """And forgotten at the end of its request."""
    with telemetry.span("HTTP", CARRIED):
        log.info("before")
        about(INVOCATION)
        log.info("after")
    with telemetry.span("HTTP", {}):
        log.info("the next request")
    assert [line["invocation_id"] for line in lines.take()] == ["", INVOCATION, ""]


@pytest.mark.parametrize("rubbish", ["", "inv_1", "inv_0123456789\n", "x" * 10_000, '{"level":"info"}'])
def test_what_is_no_id_does_not_get_into_the_log_as_one(lines: Lines, telemetry: Telemetry, rubbish: str) -> None:
    """A worker may send anything as a job's id."""
    with telemetry.span("HTTP", {}):
        about(rubbish)
        log.info("claimed")
    (line,) = lines.take()
    assert line["invocation_id"] == ""


@pytest.mark.parametrize(
    "text", ['\n{"level":"info","event":"forged"}', "\x1b[2J", "\r\n\u2028x", "\ud800", "\x00"], ids=ascii
)
def test_t21_nothing_in_a_value_makes_a_second_line(lines: Lines, text: str) -> None:
    """Neither a new line nor a terminal's control character; it is one JSON object still."""
    log.warning("part_unavailable", detail=text)
    logging.getLogger("library").warning("it said %s", text)
    ours, theirs = lines.take()
    assert ours["detail"] == text
    assert theirs["event"] == f"it said {text}"


def test_an_exception_is_one_line_too(lines: Lines, telemetry: Telemetry) -> None:
    """With its traceback inside, and with both ids."""
    with telemetry.span("HTTP", CARRIED, invocation_id=INVOCATION):
        try:
            raise RuntimeError("broken")
        except RuntimeError:
            log.exception("background_loop_failed")
    (line,) = lines.take()
    assert "RuntimeError: broken" in line["exception"]
    assert (line["trace_id"], line["invocation_id"]) == (TRACE, INVOCATION)


async def test_a_defect_is_logged_with_the_trace_its_caller_is_told_and_the_invocation_it_was_about(
    gateway: tuple[httpx2.AsyncClient, House], lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a person quotes is what an operator searches for; no token and no body is in the line."""
    client, house = gateway

    async def broken(invocation_id: str) -> None:
        raise RuntimeError("the store has a defect")

    monkeypatch.setattr(house.store, "invocation", broken)
    headers = as_("alice", house)
    body = {"verdict": "approve", "binding_hash": "sha256:" + "a" * 64, "reason": "a reason nobody logs"}
    answer = await client.post(f"/v1/invocations/{INVOCATION}/votes", json=body, headers=headers)
    assert answer.status_code == 500
    (line,) = [line for line in lines.take() if line["event"] == "defect"]
    assert (line["invocation_id"], line["trace_id"]) == (INVOCATION, answer.json()["trace_id"])
    assert int(line["trace_id"], 16)
    assert headers["Authorization"].split()[1] not in json.dumps(line)
    assert "a reason nobody logs" not in json.dumps(line)


async def test_a_claim_is_logged_with_its_job(
    gateway: tuple[httpx2.AsyncClient, House], lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id is in its body, not in its path; the trace is that of the worker."""
    client, house = gateway

    async def broken(invocation_id: str) -> None:
        raise RuntimeError("the store has a defect")

    monkeypatch.setattr(house.store, "invocation", broken)
    body = {"worker": "w1", "job": INVOCATION, "ticket": "secret-ticket"}
    headers = {"Authorization": "Bearer " + "w" * 32, **CARRIED}
    assert (await client.post("/worker/v1/claims", json=body, headers=headers)).status_code == 500
    (line,) = [line for line in lines.take() if line["event"] == "defect"]
    assert (line["invocation_id"], line["trace_id"]) == (INVOCATION, TRACE)
    assert "secret-ticket" not in json.dumps(line)


# ---- traces --------------------------------------------------------------------------------------------------------


def test_a_span_goes_on_with_the_trace_it_is_called_in(telemetry: Telemetry) -> None:
    """The next one gets the same trace and this span as its parent."""
    with telemetry.span("HTTP", CARRIED) as span:
        assert f"{span.get_span_context().trace_id:032x}" == TRACE
        version, found, parent, flags = current_traceparent().split("-")
        assert (version, found, flags) == ("00", TRACE, "01")
        assert parent == f"{span.get_span_context().span_id:016x}"


BAD_CONTEXTS = [
    "",
    "x",
    "00-0-0-0",
    f"00-{'0' * 32}-b7ad6b7169203331-01",
    "ff-" + CARRIED["traceparent"][3:],
    "é" * 999,
]


@pytest.mark.parametrize("carried", BAD_CONTEXTS)
def test_a_broken_trace_context_begins_a_new_trace(telemetry: Telemetry, carried: str) -> None:
    """It is never an error."""
    with telemetry.span("HTTP", {"traceparent": carried}) as span:
        assert span.get_span_context().is_valid
        assert carried[3:35] != f"{span.get_span_context().trace_id:032x}"
    assert not trace.get_current_span().get_span_context().is_valid


async def test_the_job_carries_the_trace_in_which_it_was_asked(tmp_path: Path) -> None:
    """From the request through the store and the outbox into the message, minutes later and by another loop."""
    telemetry = Telemetry("gateway-1", "")
    async with scene_in(tmp_path, empty_store(tmp_path)) as scene:
        message = await _staged(scene, TracedDispatcher(scene.broker, telemetry))
    telemetry.close()
    version, found, parent, _ = message.split("-")
    assert (version, found) == ("00", TRACE)
    assert parent != CARRIED["traceparent"].split("-")[2], "the publishing has a span of its own"


async def _staged(scene: Scene, dispatcher: Any) -> str:
    scene.policy.rule = needs()
    scene.gate = replace(scene.gate, dispatcher=dispatcher)
    ask = Ask("deploy staging api-service", None, {}, Options(), ChatContext(), CARRIED["traceparent"])
    await submit(scene.gate, ask, scene.person("alice"), lambda inv: None)
    return (await scene.message()).traceparent


# ---- metrics -------------------------------------------------------------------------------------------------------

SAMPLE = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")


def labels(page: str) -> dict[str, set[str]]:
    """Every label of the page with all its values."""
    found: dict[str, set[str]] = {}
    for line in page.splitlines():
        match = SAMPLE.match(line)
        if match and match["labels"]:
            for name, value in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match["labels"]):
                found.setdefault(name, set()).add(value)
    return found


HOSTILE_METHODS = ["BREW", "PROPFIND", "get", "X" * 200, 'GET"} 1', "GET\n", "G\u00e9T"]
HOSTILE_PATHS = [
    "/nowhere",
    "/v1/nowhere/inv_0123456789",
    "/v1/invocations/inv_9999999999",
    "/v1/invocations/inv_zzzzzzzzzz/log",
    "/v1/invocations/'; DROP TABLE audit; --",
    "/v1/dev/personas/nobody-1/token",
    "/console/static/made-up/made-up.js",
    '/v1/a"} 1',
    "/v1/" + "x" * 2_000,
    "/../../etc/passwd",
    "/metrics/",
]


async def _send(app: FastAPI, method: str, path: str) -> int:
    """One request straight into the application: no client or server that would make it decent first."""
    sent: list[dict[str, Any]] = []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [(b"host", b"gateway")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "state": {},
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return int(sent[0]["status"])


async def test_hostile_requests_make_no_new_label_values(tmp_path: Path) -> None:
    """Methods that nobody has heard of, paths without end, ids that vary: one count each, of a closed list."""
    settings = Settings(profile="embedded", data_dir=tmp_path)
    house = build(settings)
    app = create_app(settings, house)
    try:
        for method in (*HOSTILE_METHODS, "GET", "POST"):
            for path in (*HOSTILE_PATHS, "/healthz", "/v1/messages", "/v1/invocations"):
                assert await _send(app, method, path) < 500
        found = labels(house.telemetry.page().decode())
        templates = set(app.openapi()["paths"]) | {"/", "/console/static/{wanted}/{name}", "/openapi.json", "unmatched"}
        assert found["method"] <= {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "-"}
        assert found["route"] <= templates
        assert all(re.fullmatch(r"[1-5]\d\d", status) for status in found["status"])
        assert not [v for values in found.values() for v in values if "inv_" in v or "made-up" in v]
    finally:
        await house.close()


async def test_hostile_commands_make_no_new_label_values(gateway: tuple[httpx2.AsyncClient, House]) -> None:
    """No person, service, command or text is ever a label: their number is without end."""
    client, house = gateway
    before = labels(house.telemetry.page().decode())
    for number, text in enumerate(["deploy staging api-service", 'x{evil="1"} 1', "status no-such-thing", "help me"]):
        body = {"text": text, "context": {"channel": f"C{number}"}}
        headers = {**as_("alice", house), "Idempotency-Key": f"k{number}"}
        assert (await client.post("/v1/messages", json=body, headers=headers)).status_code == 200
    after = labels(house.telemetry.page().decode())
    assert set(after) - set(before) <= {"method", "route", "status", "phase", "effect", "le"}
    assert after["route"] - before.get("route", set()) == {"/v1/messages"}
    assert after.get("phase", set()) <= {"request", "approve", "execute"}
    assert after.get("effect", set()) <= {"allow", "pending", "deny"}


async def test_every_metric_is_in_the_page_from_the_start(gateway: tuple[httpx2.AsyncClient, House]) -> None:
    """With a sentence of help, in the format of Prometheus."""
    client, _ = gateway
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    helped = set(re.findall(r"^# HELP (\w+) \S", answer.text, re.MULTILINE))
    typed = set(re.findall(r"^# TYPE (\w+) ", answer.text, re.MULTILINE))
    assert helped == typed
    assert {
        "opsgate_http_answers_total",
        "opsgate_decisions_total",
        "opsgate_decision_seconds",
        "opsgate_problems",
    } <= typed
