"""Celery around the runner: a real worker thread on memory://, its settings, and the program's first words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from pydantic import SecretStr, ValidationError

from dev.processes import Child, free_port
from opsgate.contracts.jobs import TASK_NAME, Announce, ClaimJob, JobProgress, JobReport
from tests.rig.fleet import ROOT, FleetProcess, fleet
from tests.unit.runner_doubles import FakeGateway, claim
from workers.app import make_app, start_thread
from workers.connectors import ConnectorsWrong
from workers.settings import WorkerSettings

JOB = {"service": "ledger", "environment": "staging"}


class HttpGateway(ThreadingHTTPServer):
    """FakeGateway over HTTP; `changed` is set at every call."""

    daemon_threads = True

    def __init__(self, fake: FakeGateway) -> None:
        super().__init__(("127.0.0.1", 0), _Call)
        self.fake = fake
        self.changed = threading.Condition()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def wait(self, until: Callable[[FakeGateway], bool], seconds: float = 10) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: until(self.fake), seconds), self.fake


class _Call(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HttpGateway

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        parts = self.path.removeprefix("/worker/v1/").split("/")
        with self.server.changed:
            answer = self._answer(self.server.fake, parts, raw)
            self.server.changed.notify_all()
        self.send_response(200 if answer else 204)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _answer(self, fake: FakeGateway, parts: list[str], raw: bytes) -> bytes:
        match parts:
            case ["announce"]:
                fake.announce(Announce.model_validate_json(raw))
                return b""
            case ["claims"]:
                return fake.claim(ClaimJob.model_validate_json(raw)).model_dump_json().encode()
            case ["jobs", job, "progress"]:
                return fake.progress(job, JobProgress.model_validate_json(raw)).model_dump_json().encode()
            case ["jobs", job, "report"]:
                return fake.report(job, JobReport.model_validate_json(raw)).model_dump_json().encode()
        raise AssertionError(parts)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetProcess]:
    with fleet(tmp_path_factory.mktemp("fleet")) as running:
        yield running


@pytest.fixture
def gateway() -> Iterator[HttpGateway]:
    with HttpGateway(FakeGateway(claim(operation="sandbox.status", input=JOB))) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def settings(gateway: HttpGateway, process: FleetProcess) -> WorkerSettings:
    return WorkerSettings(
        gateway_url=gateway.url,
        worker_token=SecretStr("t0ken"),
        broker_url="memory://",
        worker_name="worker-a",
        sandbox_url=process.url,
    )


@pytest.fixture
def worker(settings: WorkerSettings) -> Iterator[None]:
    # memory:// is one broker a process: what a gateway of another test left in it is not for this worker.
    with Celery("sweeper", broker="memory://", set_as_current=False) as sweeper:
        with sweeper.connection_for_write() as connection:
            channel: Any = connection.default_channel
            channel.queue_purge("opsgate")
    stop = start_thread(settings)
    yield
    stop()


def send(job: str = "inv_1", **more: Any) -> None:
    """As the gateway does: by name, to the queue."""
    with Celery("sender", broker="memory://", set_as_current=False) as sender:
        sender.send_task(TASK_NAME, kwargs={"job": job, "ticket": "signed", **more}, queue="opsgate")


def test_a_message_is_picked_up_at_once_and_carried_out(worker: None, gateway: HttpGateway) -> None:
    """From the broker to the claim in well under the time a person notices, then to the report."""
    latencies = []
    for n in range(1, 6):
        sent = time.monotonic()
        send()
        gateway.wait(lambda fake, n=n: len(fake.claimed) == n)  # type: ignore[misc]
        latencies.append(time.monotonic() - sent)
        gateway.wait(lambda fake, n=n: len(fake.reported) == n)  # type: ignore[misc]
    assert min(latencies) < 0.06, latencies
    assert gateway.fake.claimed[0] == ClaimJob(worker="worker-a", job="inv_1", ticket="signed")
    assert gateway.fake.reported[0].summary == "ledger: 0.9.8 in staging, healthy (3 of 3 replicas)."


def test_what_it_offers_is_announced_at_once(worker: None, gateway: HttpGateway) -> None:
    """Names, and the schema of each input."""
    gateway.wait(lambda fake: len(fake.announced) == 1)
    (announce,) = gateway.fake.announced
    assert announce.worker == "worker-a"
    deploy = next(each for each in announce.operations if each.name == "sandbox.deploy")
    assert deploy.idempotent
    assert deploy.input_schema["required"] == ["service", "environment", "version"]


def test_a_message_that_is_not_understood_does_not_stop_the_worker(worker: None, gateway: HttpGateway) -> None:
    """It is dropped, and the next one is carried out."""
    send(extra="field")
    send("inv_2")
    gateway.wait(lambda fake: len(fake.reported) == 1)
    assert [each.job for each in gateway.fake.claimed] == ["inv_2"]


def test_stopping_is_prompt_and_leaves_no_thread(settings: WorkerSettings, gateway: HttpGateway) -> None:
    """Three starts and stops in one process, as the tests of a whole house do."""
    before = set(threading.enumerate())
    for n in range(1, 4):
        stop = start_thread(settings)
        send()
        gateway.wait(lambda fake, n=n: len(fake.reported) == n)  # type: ignore[misc]
        begun = time.monotonic()
        stop()
        assert time.monotonic() - begun < 3
    # A lease ends by itself when its job's last report is in: at most one beat later.
    left = [thread for thread in set(threading.enumerate()) - before if "process_request" not in thread.name]
    for thread in left:
        thread.join(5)
    assert {thread.name for thread in left if thread.is_alive()} == set()


def test_stopping_lets_a_step_in_progress_end(
    settings: WorkerSettings, gateway: HttpGateway, process: FleetProcess
) -> None:
    """What was claimed is reported before the worker is gone."""
    process.fault(delay_s=0.4)
    stop = start_thread(settings)
    send()
    gateway.wait(lambda fake: len(fake.claimed) == 1)
    stop()
    process.heal()
    assert [each.result for each in gateway.fake.reported] == ["succeeded"]


@pytest.mark.slow
def test_waiting_for_messages_costs_next_to_nothing(worker: None) -> None:
    """A laptop's fan must not hear it: under 3 % of a core."""
    used = time.process_time()
    time.sleep(2)
    assert time.process_time() - used < 0.06


def test_celery_is_a_wake_up_call_and_nothing_more(settings: WorkerSettings) -> None:
    """Late acknowledgement, no results, no remote control, JSON only; limits in all the places Redis needs them."""
    conf = make_app(settings.model_copy(update={"broker_url": "redis://127.0.0.1:9/0"})).conf
    wanted = {
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_ignore_result": True,
        "result_backend": None,
        "worker_enable_remote_control": False,
        "worker_prefetch_multiplier": 1,
        "accept_content": ["json"],
    }
    assert {name: conf[name] for name in wanted} == wanted
    assert conf.broker_transport_options["visibility_timeout"] == conf.visibility_timeout > conf.task_time_limit
    assert conf.broker_transport_options["socket_timeout"] == 5
    quorum = make_app(settings.model_copy(update={"broker_url": "amqp://127.0.0.1:9"})).conf
    assert quorum.task_default_queue_type == "quorum"


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comma-separated list, a secret that does not show itself."""
    for name, value in {
        "GATEWAY_URL": "http://gateway",
        "WORKER_TOKEN": "t0ken",
        "BROKER_URL": "redis://broker/0",
        "CONNECTORS": "sandbox, prometheus",
        "LOG_LEVEL": "debug",
    }.items():
        monkeypatch.setenv(f"OPSGATE_{name}", value)
    settings = WorkerSettings()
    assert settings.connectors == ("sandbox", "prometheus")
    assert settings.log_level == "DEBUG"
    assert "t0ken" not in repr(settings)
    monkeypatch.setenv("OPSGATE_LOG_LEVEL", "loud")
    with pytest.raises(ValidationError, match="must be DEBUG"):
        WorkerSettings()


def test_a_worker_without_its_connectors_settings_does_not_start(settings: WorkerSettings) -> None:
    """It would fail every Job it claims."""
    with pytest.raises(ConnectorsWrong, match="OPSGATE_SANDBOX_URL is missing"):
        start_thread(settings.model_copy(update={"sandbox_url": ""}))


def _environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPSGATE_")}
    return {**kept, **{f"OPSGATE_{name}": value for name, value in more.items()}}


def test_the_program_names_every_missing_setting_at_once() -> None:
    """In a few plain lines, with an exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "workers"],
        env=_environment(LOG_LEVEL="loud"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert lines[0] == "Set these in the environment of the worker:"
    assert {line.split(":")[0].strip() for line in lines[1:]} == {
        "OPSGATE_GATEWAY_URL",
        "OPSGATE_WORKER_TOKEN",
        "OPSGATE_BROKER_URL",
        "OPSGATE_LOG_LEVEL",
    }


@pytest.mark.slow
def test_the_program_announces_logs_json_and_ends_on_sigterm(
    gateway: HttpGateway, process: FleetProcess, tmp_path: Path
) -> None:
    """Even while its broker cannot be reached; no line holds the token."""
    environment = _environment(
        GATEWAY_URL=gateway.url,
        WORKER_TOKEN="t0ken",
        BROKER_URL=f"redis://127.0.0.1:{free_port()}/0",
        WORKER_NAME="worker-b",
        SANDBOX_URL=process.url,
    )
    log = tmp_path / "worker.log"
    child = Child("The worker", [sys.executable, "-m", "workers"], log, env=environment, cwd=ROOT)
    gateway.wait(lambda fake: bool(fake.announced), 20)
    child.wait_ready(lambda: "Cannot connect to" in log.read_text())
    child.stop(10)
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert {"level", "timestamp", "message", "logger"} <= set(lines[0])
    assert any(line["message"] == "announce.heard" for line in lines)
    assert "t0ken" not in log.read_text()
    assert child.process.returncode == 0
