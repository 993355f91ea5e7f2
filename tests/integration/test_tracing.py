"""One trace from the message in the chat to the worker's call of the outside system, as a collector receives it."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message

from adapters.slack.app import create_app
from adapters.slack.settings import SlackSettings
from dev.processes import clean_environment
from opsgate.contracts.invocations import Answer, InvocationView, State
from tests.rig import stages
from tests.rig.slack import ADAPTER_TOKEN, ALICE, Sender, serving, web_api
from tests.rig.stages import ROOT, SLACK_SIGNING_SECRET, EmbeddedStage
from tests.stories.room import FINAL, eventually, shown

pytestmark = pytest.mark.slow

TRACE = "0af7651916cd43dd8448eb211c80319c"
ROOT_SPAN = "b7ad6b7169203331"
GATEWAY, WORKER, SLACK = "opsgate-gateway", "opsgate-worker", "opsgate-slack"


@dataclass(frozen=True)
class Span:
    """What the tests look at of one span. `attributes` as text."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    kind: int
    attributes: dict[str, str]


@dataclass
class Collector:
    """An OTLP/HTTP collector; `strange` is what came that no collector would take."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)

    def of(self, trace: str) -> list[Span]:
        return [span for span in self.spans if span.trace == trace]

    def take(self, path: str, kind: str, body: bytes) -> None:
        if path != "/v1/traces" or kind != "application/x-protobuf":
            self.strange.append(f"{path} {kind}")
            return
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            (service,) = [a.value.string_value for a in resource.resource.attributes if a.key == "service.name"]
            for scope in resource.scope_spans:
                self.spans += [_span(service, span) for span in scope.spans]


def _span(service: str, span: Message) -> Span:
    values = {a.key: a.value.string_value or str(a.value.int_value) for a in span.attributes}
    ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
    return Span(service, span.name, *ids, span.kind, values)


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free loopback port."""
    collector = Collector()

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            unpacked = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            collector.take(self.path, self.headers["Content-Type"], unpacked)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """The test says what matters."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        collector.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join(timeout=5)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as made:
        yield made


@pytest.fixture(scope="module")
def house(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStage]:
    """An embedded house that is told where traces go, and sends them often."""
    told = {"OPSGATE_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "clean_environment", lambda: clean_environment() | told)
        with stages.embedded(tmp_path_factory.mktemp("traced")) as stage:
            yield stage


def wait_for(collector: Collector, trace: str, complete: Callable[[list[Span]], bool]) -> list[Span]:
    """The spans of this trace once they are complete."""

    eventually(lambda: complete(collector.of(trace)), 15, "the trace")
    return collector.of(trace)


def reached_the_end(spans: list[Span]) -> bool:
    """The last report of the worker and the fleet's last answer are in."""
    results = {span.attributes.get("opsgate.result") for span in spans if span.service == WORKER}
    return "succeeded" in results and any(s.name == "POST /worker/v1/jobs/{job}/report" for s in spans)


def until_final(client: httpx2.Client, invocation_id: str) -> InvocationView:
    def look() -> InvocationView | None:
        seen = InvocationView.model_validate_json(client.get(f"/v1/invocations/{invocation_id}").content)
        return seen if seen.state in FINAL else None

    ended: InvocationView = eventually(look, 20, "the end")
    assert ended.state is State.SUCCEEDED, ended.card
    return ended


def say(client: httpx2.Client, line: str, **headers: str) -> InvocationView:
    """As the command line sends it."""
    answer = client.post("/v1/messages", json={"text": line}, headers={"Idempotency-Key": uuid4().hex, **headers})
    said = Answer.model_validate_json(answer.raise_for_status().content)
    assert said.invocation is not None
    return said.invocation


def one(spans: list[Span], name: str, **attributes: str) -> Span:
    """The first span of this name with these attributes."""
    wanted = {f"opsgate.{key}": value for key, value in attributes.items()}
    found = [s for s in spans if s.name == name and wanted.items() <= s.attributes.items()]
    assert found, f"no span {name} {wanted} among {[(s.name, s.attributes) for s in spans]}"
    return found[0]


def above(span: Span, spans: list[Span]) -> list[str]:
    """The names of the spans that it happened in, the nearest first."""
    by_id = {s.id: s for s in spans}
    names = []
    while (parent := by_id.get(span.parent)) is not None:
        names.append(parent.name)
        span = parent
    return names


def check_the_way(spans: list[Span], invocation_id: str) -> None:
    """Every part of the house has its place in the one trace, each inside of what called it."""
    asked = one(spans, "opa decide", phase="request")
    assert asked.attributes["opsgate.effect"] == "allow"
    assert above(asked, spans)[0] == "POST /v1/messages"
    assert one(spans, "POST /v1/messages").attributes["opsgate.invocation_id"] == invocation_id
    relay = one(spans, "relay wake")
    assert above(relay, spans)[0] == "POST /v1/messages"
    job = one(spans, "job", invocation_id=invocation_id)
    assert (job.service, above(job, spans)[0]) == (WORKER, "relay wake")
    claimed = one(spans, "POST /worker/v1/claims")
    assert (claimed.service, above(claimed, spans)[0]) == (GATEWAY, "job")
    again = one(spans, "opa decide", phase="execute")
    assert above(again, spans)[0] == "POST /worker/v1/claims"
    operation = one(spans, "sandbox.deploy", step="start")
    assert above(operation, spans)[:2] == ["job", "relay wake"]
    calls = [s for s in spans if s.name.endswith("The practice fleet")]
    assert {s.name.split()[0] for s in calls} == {"GET", "POST"}
    for call in calls:
        assert (call.service, call.kind, above(call, spans)[0]) == (WORKER, Message.SPAN_KIND_CLIENT, "sandbox.deploy")
        assert call.attributes["http.response.status_code"] == "200" or call.name.startswith("POST")


def test_one_trace_covers_a_command_from_the_terminal_to_the_connectors_call(
    house: EmbeddedStage, collector: Collector
) -> None:
    """The caller's trace context goes on through gateway, policy, outbox, worker and connector."""
    with house.http("alice") as client:
        asked = say(client, "deploy staging api-service", traceparent=f"00-{TRACE}-{ROOT_SPAN}-01")
        until_final(client, asked.id)
    spans = wait_for(collector, TRACE, reached_the_end)
    check_the_way(spans, asked.id)
    assert {s.service for s in spans} == {GATEWAY, WORKER}
    assert one(spans, "POST /v1/messages").parent == ROOT_SPAN
    assert asked.trace_id == TRACE
    assert collector.strange == []


def test_one_trace_begins_with_the_press_of_enter_in_slack(
    house: EmbeddedStage, collector: Collector, tmp_path: Path
) -> None:
    """The adapter's own span is its root, and the trace id on the Invocation finds it all."""
    with web_api() as slack:
        settings = SlackSettings(
            signing_secret=SLACK_SIGNING_SECRET,
            bot_token="xoxb-loopback",
            gateway_url=house.url,
            adapter_token=ADAPTER_TOKEN,
            slack_api_url=slack.api_url,
            response_url_prefix=f"{slack.url}/",
            state=tmp_path / "slack.db",
            otlp_endpoint=collector.url,
        )
        with serving(create_app(settings)) as url, house.http("alice") as client:
            eventually(lambda: httpx2.get(f"{url}/readyz", trust_env=False).is_success, 10, "the adapter")
            sent = Sender(SLACK_SIGNING_SECRET, slack.response_url).command("deploy staging ledger", ALICE)
            answer = httpx2.post(
                f"{url}/slack/events", content=sent.body.encode(), headers=sent.headers, trust_env=False
            )
            assert answer.is_success, answer.text

            def asked() -> list[str]:
                items = client.get("/v1/invocations?service=ledger&limit=1").json()["items"]
                return [str(item["id"]) for item in items]

            eventually(lambda: bool(asked()), 10, "the command")
            ended = until_final(client, *asked())
    # The adapter sends what is left when it stops.
    spans = wait_for(
        collector, ended.trace_id, lambda found: reached_the_end(found) and any(s.service == SLACK for s in found)
    )
    check_the_way(spans, ended.id)
    assert {s.service for s in spans} == {SLACK, GATEWAY, WORKER}
    (root,) = [s for s in spans if not s.parent]
    assert root.service == SLACK
    assert all(above(s, spans)[-1:] == [root.name] for s in spans if s is not root), "every span hangs on the root"


def test_what_is_approved_by_another_runs_in_the_trace_of_who_asked(house: EmbeddedStage, collector: Collector) -> None:
    """The approval is a trace of its own; the Job goes on with that of the command."""
    asked_in, approved_in = uuid4().hex, uuid4().hex
    with house.http("alice") as alice, house.http("bob") as bob:
        asked = say(alice, "deploy production api-service", traceparent=f"00-{asked_in}-{ROOT_SPAN}-01")
        assert asked.state is State.PENDING
        say(bob, f"approve {shown(asked)}", traceparent=f"00-{approved_in}-{ROOT_SPAN}-01")
        until_final(alice, asked.id)
    check_the_way_after_approval(wait_for(collector, asked_in, reached_the_end))
    votes = wait_for(collector, approved_in, lambda found: any(s.name == "opa decide" for s in found))
    eventually(lambda: any(s.name == "POST /v1/messages" for s in collector.of(approved_in)), 5, "the vote's span")
    assert one(votes, "opa decide").attributes["opsgate.phase"] == "approve"
    assert {s.service for s in votes} == {GATEWAY}


def check_the_way_after_approval(spans: list[Span]) -> None:
    assert one(spans, "opa decide", phase="request").attributes["opsgate.effect"] == "pending"
    assert one(spans, "opa decide", phase="execute").attributes["opsgate.effect"] == "allow"
    assert above(one(spans, "relay wake"), spans)[0] == "POST /v1/messages"
    assert one(spans, "sandbox.deploy", step="start").service == WORKER


def test_traces_hold_no_secret_and_nothing_that_was_said(house: EmbeddedStage, collector: Collector) -> None:
    """Names, ids and results only: no token, no reason, no argument, no address."""
    with house.http("alice") as client:
        trace = uuid4().hex
        asked = say(
            client,
            "deploy staging api-service --version 1.4.1 --reason 'the canary of this test'",
            traceparent=f"00-{trace}-{ROOT_SPAN}-01",
        )
        until_final(client, asked.id)
        token = client.headers["Authorization"].split()[1]
    wait_for(collector, trace, reached_the_end)
    everything = repr(collector.spans)
    for said in ("canary", "1.4.1", token, house.worker_token, ADAPTER_TOKEN, SLACK_SIGNING_SECRET):
        assert said not in everything
    keys = {key for span in collector.spans if span.service != SLACK for key in span.attributes}
    assert keys <= {
        "opsgate.invocation_id",
        "opsgate.phase",
        "opsgate.effect",
        "opsgate.step",
        "opsgate.result",
        "http.response.status_code",
    }


def test_the_logs_of_the_house_carry_the_same_trace(house: EmbeddedStage) -> None:
    """Gateway's and worker's lines of one Invocation are found by its id or by its trace."""
    with house.http("alice") as client:
        trace = uuid4().hex
        asked = say(client, "deploy staging api-service", traceparent=f"00-{trace}-{ROOT_SPAN}-01")
        until_final(client, asked.id)
    log = house.files.folder / "data" / "gateway.log"

    def about() -> list[dict[str, str]]:
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        assert all({"trace_id", "invocation_id"} <= line.keys() for line in lines)
        return [line for line in lines if line["invocation_id"] == asked.id]

    eventually(lambda: any(line["event"] == "job.reported" for line in about()), 10, "the worker's last line")
    assert {line["event"] for line in about()} >= {"job.claimed", "job.reported"}
    assert {line["trace_id"] for line in about()} == {trace}


def test_a_worker_of_its_own_has_both_ids_on_every_line_too() -> None:
    """Its own lines and Celery's, known or empty."""
    program = (
        "import logging, structlog; from workers.telemetry import log_json; log_json('INFO'); "
        "structlog.get_logger('workers').info('announce.heard', operations=7); "
        "logging.getLogger('celery').warning('the broker is %s', 'gone'); "
        "structlog.contextvars.bind_contextvars(invocation_id='inv_0123456789', trace_id='abc'); "
        "structlog.get_logger('workers').info('job.claimed')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["message"] for line in lines] == ["announce.heard", "the broker is gone", "job.claimed"]
    known = [(line["invocation_id"], line["trace_id"]) for line in lines]
    assert known == [("", ""), ("", ""), ("inv_0123456789", "abc")]
