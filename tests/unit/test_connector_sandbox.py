"""The sandbox connector against a real practice fleet, and under the runner when the fleet makes trouble."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from opsgate.connectors import (
    Cancelled,
    ConnectorError,
    Failed,
    Operation,
    OutsideUnreachable,
    Progressing,
    Result,
    Run,
    Succeeded,
)
from tests.rig.fleet import FleetProcess, fleet
from tests.unit.runner_doubles import WAKE, FakeGateway, claim
from workers import outside
from workers.connectors import load
from workers.runner import Runner

TARGET = {"service": "api-service", "environment": "production"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z ?")


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetProcess]:
    with fleet(tmp_path_factory.mktemp("fleet")) as running:
        yield running


@pytest.fixture(autouse=True)
def healthy(process: FleetProcess) -> Iterator[None]:
    """Every test leaves the fleet without faults and without a rollout in progress."""
    yield
    process.heal()
    while any(each["state"] in ("running", "cancelling") for each in rollouts(process)):
        time.sleep(0.05)


@pytest.fixture
def operations(process: FleetProcess) -> dict[str, Operation[Any]]:
    return load(["sandbox"], {"OPSGATE_SANDBOX_URL": process.url})


@pytest.fixture
def correlation_id(request: pytest.FixtureRequest) -> str:
    return f"inv_{request.node.name}"


def rollouts(process: FleetProcess) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = process.client.get("/v1/rollouts").json()["items"]
    return items


class Told(list[str]):
    """The lines an operation logged."""

    def run(self, correlation_id: str) -> Run:
        return Run(correlation_id, 60, self.append)


def to_the_end(operation: Operation[Any], run: Run, given: Any, handle: dict[str, Any]) -> Result:
    while isinstance(result := operation.follow(run, given, handle), Progressing):
        assert result.after_s <= 2
        time.sleep(0.05)
    return result


def test_a_deploy_from_probe_to_its_last_sentence(
    process: FleetProcess, operations: dict[str, Operation[Any]], correlation_id: str
) -> None:
    """Nothing found, started, followed; each step of the fleet is told to the team once."""
    deploy, told = operations["sandbox.deploy"], Told()
    run, given = told.run(correlation_id), deploy.input(**TARGET, version="1.4.2")
    assert deploy.probe(run, given) is None
    handle = deploy.start(run, given)
    assert deploy.probe(run, given) == {**handle, "told": 0}
    result = to_the_end(deploy, run, given, handle)
    assert isinstance(result, Succeeded)
    assert result.summary == "api-service 1.4.2 is live in production."
    assert result.facts["from_version"] == "1.4.1"
    assert result.facts["version"] == "1.4.2"
    assert len(told) == len(set(told)) == 7
    assert process.client.get("/api-service/version").json()["version"] == "1.4.2"


def test_a_deploy_can_be_cancelled_and_a_migration_cannot(
    process: FleetProcess, operations: dict[str, Operation[Any]], correlation_id: str
) -> None:
    """The fleet puts everything back; a migration refuses in words."""
    process.fault(slow_s=2)
    deploy, run = operations["sandbox.deploy"], Told().run(correlation_id)
    given = deploy.input(**TARGET, version="1.4.0")
    handle = deploy.start(run, given)
    assert isinstance(deploy.cancel(run, given, handle), Progressing)
    assert isinstance(to_the_end(deploy, run, given, handle), Cancelled)
    process.heal()
    migrate, run = operations["sandbox.migrate"], Told().run(correlation_id + "_migrate")
    handle = migrate.start(run, given)
    with pytest.raises(ConnectorError, match="cannot be stopped half way"):
        migrate.cancel(run, given, handle)


def test_a_failed_rollout_is_a_failure_with_the_fleets_words(
    process: FleetProcess, operations: dict[str, Operation[Any]], correlation_id: str
) -> None:
    """And what is live again."""
    process.fault(fail_rollout=True)
    restart, run = operations["sandbox.restart"], Told().run(correlation_id)
    given = restart.input(**TARGET)
    result = to_the_end(restart, run, given, restart.start(run, given))
    assert isinstance(result, Failed)
    assert "the rollout was undone" in result.summary


@pytest.mark.parametrize(
    ("name", "more", "sentence"),
    [
        ("sandbox.scale", {"replicas": 2}, "ledger in staging runs 2 replicas"),
        ("sandbox.rollback", {}, "ledger 0.9.7 is live in staging."),
        ("sandbox.migrate", {"version": "1.0.0"}, "The ledger database in staging is at 1.0.0."),
    ],
)
def test_the_other_rollouts_end_in_a_sentence(
    operations: dict[str, Operation[Any]], correlation_id: str, name: str, more: dict[str, Any], sentence: str
) -> None:
    """Each with the words for its kind."""
    operation, run = operations[name], Told().run(correlation_id)
    given = operation.input(service="ledger", environment="staging", **more)
    result = to_the_end(operation, run, given, operation.start(run, given))
    assert isinstance(result, Succeeded)
    assert result.summary.startswith(sentence)


def test_status_tells_one_environment_or_all(operations: dict[str, Operation[Any]]) -> None:
    """A reading: `follow` looks, nothing is left to find."""
    status, run = operations["sandbox.status"], Told().run("inv_status")
    one = status.follow(run, status.input(service="web-shop", environment="production"), status.start(run, None))
    assert isinstance(one, Succeeded)
    assert one.summary == "web-shop: 2.8.0 in production, healthy (3 of 3 replicas)."
    both = status.follow(run, status.input(service="web-shop"), {})
    assert isinstance(both, Succeeded)
    assert len(both.facts["deployments"]) == 2
    assert isinstance(status.follow(run, status.input(service="nothing"), {}), Failed)


def test_logs_are_told_line_by_line(operations: dict[str, Operation[Any]]) -> None:
    """The summary only counts them."""
    logs, told = operations["sandbox.logs"], Told()
    result = logs.follow(told.run("inv_logs"), logs.input(**TARGET, lines=5), {})
    assert isinstance(result, Succeeded)
    assert result.summary == "The last 5 log lines of api-service in production."
    assert len(told) == 5


def test_no_line_of_the_log_carries_a_time_of_its_own(
    operations: dict[str, Operation[Any]], correlation_id: str
) -> None:
    """The log shows a time beside each line already; only the output, which stands alone, has the service's own."""
    told = Told()
    run = told.run(correlation_id)
    restart, logs = operations["sandbox.restart"], operations["sandbox.logs"]
    given = restart.input(**TARGET)
    to_the_end(restart, run, given, restart.start(run, given))
    read = logs.follow(run, logs.input(**TARGET, lines=3), {})
    assert isinstance(read, Succeeded)
    assert len(told) > 3
    assert [line for line in told if TIME.search(line)] == []
    assert [TIME.sub("", line, count=1) for line in read.facts["output"]] == told[-3:]


def test_a_refusal_carries_the_fleets_words(operations: dict[str, Operation[Any]], correlation_id: str) -> None:
    """With the versions there are."""
    deploy, run = operations["sandbox.deploy"], Told().run(correlation_id)
    with pytest.raises(ConnectorError, match=r"no version 9\.9\.9; the nearest there are") as refusal:
        deploy.start(run, deploy.input(**TARGET, version="9.9.9"))
    assert not isinstance(refusal.value, OutsideUnreachable)


def test_a_service_name_cannot_leave_its_place_in_the_address(operations: dict[str, Operation[Any]]) -> None:
    """Whatever comes as a name stays one segment of the path."""
    logs = operations["sandbox.logs"]
    with pytest.raises(ConnectorError, match=r"404|no service"):
        logs.follow(Told().run("inv_x"), logs.input(service="../../faults?x=", environment="production"), {})


@pytest.mark.parametrize("fault", [{"status_5xx": 503}, {"hang": True}])
def test_a_fleet_in_trouble_is_unreachable_not_a_refusal(
    process: FleetProcess, fault: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it answers 5xx or nothing."""
    monkeypatch.setattr(outside, "FIRST_PAUSE_S", 0.01)
    away = outside.Outside("The practice fleet", process.url, timeout=httpx2.Timeout(0.3))
    process.fault(**fault)
    with pytest.raises(OutsideUnreachable):
        away.get("/v1/services")
    with pytest.raises(OutsideUnreachable):
        away.post("/v1/rollouts", json={"service": "api-service"})


def test_a_fleet_that_is_not_there_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a few tries to connect."""
    monkeypatch.setattr(outside, "FIRST_PAUSE_S", 0.01)
    with pytest.raises(OutsideUnreachable, match="No connection to The practice fleet at http://127"):
        outside.Outside("The practice fleet", "http://127.0.0.1:9").get("/v1/services")


def test_a_lost_answer_to_start_does_not_run_it_twice(
    process: FleetProcess, operations: dict[str, Operation[Any]], correlation_id: str
) -> None:
    """The fleet did it and answered 500; nothing is reachable, so it is unknown or looked at again, and done once."""
    gateway = FakeGateway(
        claim(
            operation="sandbox.deploy",
            input={**TARGET, "service": "web-shop", "version": "2.8.1"},
            correlation_id=correlation_id,
        )
    )
    runner = Runner(gateway, operations, "worker-a")
    process.fault(lose_answer=True)
    runner.wake(WAKE)
    process.heal()
    runner.wake(WAKE)
    first, second = gateway.reported
    assert (first.result, first.handle) == ("running", None)
    assert second.handle is not None
    assert process.effects(correlation_id) == 1
    assert process.client.get("/v1/effects").json()["asked"][correlation_id] == 1


@pytest.mark.slow
def test_a_lost_answer_to_an_unrepeatable_start_is_unknown(
    process: FleetProcess, operations: dict[str, Operation[Any]], correlation_id: str
) -> None:
    """Nobody starts a migration again on a guess."""
    given = {"service": "web-shop", "environment": "staging", "version": "2.8.1"}
    gateway = FakeGateway(claim(operation="sandbox.migrate", input=given, correlation_id=correlation_id))
    process.fault(lose_answer=True)
    # The first probe must get through: only the start and what follows loses its answer.
    migrate = operations["sandbox.migrate"]
    original = migrate.probe
    probes = iter([lambda *_: None, original])
    migrate.probe = lambda *args: next(probes)(*args)  # type: ignore[method-assign]
    Runner(gateway, operations, "worker-a").wake(WAKE)
    assert gateway.reported[-1].result == "unknown"
    assert process.effects(correlation_id) == 1
