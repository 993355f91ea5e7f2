"""The practice fleet as a process: its HTTP API, its faults, and how it starts."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.rig.fleet import ROOT, FleetProcess, fleet

DEPLOY = {
    "kind": "deploy",
    "service": "api-service",
    "environment": "production",
    "params": {"version": "1.4.2"},
    "correlation_id": "inv_http",
}


@pytest.fixture
def process(tmp_path: Path) -> Iterator[FleetProcess]:
    with fleet(tmp_path) as running:
        yield running


def test_a_rollout_over_http_from_start_to_the_version_answered(process: FleetProcess) -> None:
    """201 for a start, 200 for the same again, and the deployed version is what /version really answers."""
    client = process.client
    where = "/api-service/version?environment=production"
    assert client.get(where).json() == {"service": "api-service", "environment": "production", "version": "1.4.1"}
    begun = client.post("/v1/rollouts", json=DEPLOY)
    again = client.post("/v1/rollouts", json=DEPLOY)
    assert (begun.status_code, again.status_code) == (201, 200)
    assert begun.json()["id"] == again.json()["id"]
    time.sleep(0.5)
    rollout = client.get(f"/v1/rollouts/{begun.json()['id']}").json()
    assert rollout["state"] == "succeeded"
    assert len(rollout["steps"]) == 7
    assert client.get("/v1/rollouts?correlation_id=inv_http").json()["items"] == [rollout]
    assert client.get("/v1/rollouts?correlation_id=inv_other").json()["items"] == []
    assert client.get(where).json()["version"] == "1.4.2"
    assert process.effects("inv_http") == 1


def test_services_and_logs_and_metrics_can_be_read(process: FleetProcess) -> None:
    """Three services in two environments."""
    client = process.client
    items = client.get("/v1/services").json()["items"]
    assert len(items) == 6
    one = client.get("/v1/services/production/ledger").json()
    assert (one["health"], one["healthy_replicas"]) == ("healthy", 3)
    assert len(client.get("/v1/services/production/ledger/logs?lines=7").json()["lines"]) == 7
    assert client.get("/v1/services/production/ledger/logs?lines=many").status_code == 422
    text = client.get("/metrics").text
    assert 'fleet_up{service="ledger",environment="production"} 1.0' in text
    assert client.get("/v1/services/production/nothing").status_code == 404
    assert client.get("/v1/rollouts/rol_none").status_code == 404


def test_a_body_that_is_no_object_or_too_large_is_refused(process: FleetProcess) -> None:
    """Whatever a program sends, the fleet answers in words."""
    for body in (b"[]", b"{", b"[" * 60_000):
        assert process.client.post("/v1/rollouts", content=body).status_code == 422
    assert process.client.post("/v1/rollouts", content=b" " * 70_000).status_code == 413


def test_it_answers_5xx_when_told_and_only_for_that_service(process: FleetProcess) -> None:
    """And does nothing of what was asked."""
    process.fault(service="api-service", status_5xx=503)
    assert process.client.post("/v1/rollouts", json=DEPLOY).status_code == 503
    assert process.client.get("/ledger/version").status_code == 200
    assert process.effects("inv_http") == 0
    process.heal()
    assert process.client.post("/v1/rollouts", json=DEPLOY).status_code == 201


@pytest.mark.slow
def test_it_hangs_when_told(process: FleetProcess) -> None:
    """No answer comes and nothing is done; tests can still steer it."""
    process.fault(hang=True)
    with pytest.raises(httpx2.ReadTimeout):
        process.client.post("/v1/rollouts", json=DEPLOY, timeout=0.3)
    assert process.effects("inv_http") == 0


def test_it_loses_an_answer_when_told(process: FleetProcess) -> None:
    """The case that makes people run things twice: done, and answered with an error."""
    process.fault(lose_answer=True)
    assert process.client.post("/v1/rollouts", json=DEPLOY).status_code == 500
    assert process.effects("inv_http") == 1


def test_it_remembers_across_a_restart_of_the_process(process: FleetProcess) -> None:
    """The file is the truth."""
    process.client.post("/v1/rollouts", json=DEPLOY)
    process.restart()
    time.sleep(0.5)
    assert process.client.get("/api-service/version").json()["version"] == "1.4.2"
    assert process.effects("inv_http") == 1


def test_it_says_where_it_is_ready_and_ends_when_asked(process: FleetProcess) -> None:
    """One line, and SIGTERM ends it soon, even while a call hangs."""
    assert process.child.tail(1) == f"The practice fleet is ready at {process.url}"
    process.fault(hang=True)
    with pytest.raises(httpx2.ReadTimeout):
        process.client.get("/v1/services", timeout=0.1)
    begun = time.monotonic()
    process.child.stop()
    assert time.monotonic() - begun < 3


def test_a_port_in_use_is_said_in_one_line(process: FleetProcess, tmp_path: Path) -> None:
    """Not in a traceback."""
    command = [sys.executable, "-m", "sandbox", "--port", str(process.port), "--data", str(tmp_path / "b.sqlite")]
    failed = subprocess.run(command, capture_output=True, text=True, timeout=20, cwd=ROOT, check=False)
    assert failed.returncode == 2
    assert failed.stderr == f"Port {process.port} cannot be used (Address already in use); give another with --port.\n"
