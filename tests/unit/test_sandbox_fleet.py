"""The practice fleet's rules, with a clock that the test turns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import readings
from sandbox.errors import FleetError
from sandbox.faults import Faults, parse
from sandbox.fleet import Fleet
from sandbox.store import Store


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fleet.sqlite"


@pytest.fixture
def fleet(path: Path, clock: Clock) -> Iterator[Fleet]:
    store = Store(path, clock())
    yield Fleet(store, rollout_s=3, clock=clock)
    store.close()


def asked(kind: str, correlation_id: str = "inv_1", **params: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "service": "api-service",
        "environment": "production",
        "params": params,
        "correlation_id": correlation_id,
    }


def versions(fleet: Fleet) -> list[str]:
    return [replica.version for replica in fleet.deployment("api-service", "production").replicas]


def test_a_deploy_goes_replica_by_replica_as_time_passes(fleet: Fleet, clock: Clock) -> None:
    """Nothing runs in the background: looking is what moves it."""
    rollout, begun = fleet.start(asked("deploy", version="1.4.2"))
    assert begun
    assert rollout["state"] == "running"
    clock.now += 1.5
    assert versions(fleet) == ["1.4.2", "1.4.2", "1.4.1"]
    assert fleet.rollout(rollout["id"])["percent"] == 50
    assert fleet.deployment("api-service", "production").version == "1.4.1"
    clock.now += 1.5
    done = fleet.rollout(rollout["id"])
    assert (done["state"], done["percent"]) == ("succeeded", 100)
    assert done["text"] == "api-service 1.4.2 is live in production."
    assert fleet.deployment("api-service", "production").version == "1.4.2"
    assert fleet.deployment("api-service", "staging").version == "1.4.1"


def test_the_same_correlation_id_starts_nothing_a_second_time(fleet: Fleet, clock: Clock) -> None:
    """The second answer is the first rollout, and the effect is counted once, however it was asked."""
    first, _ = fleet.start(asked("deploy", version="1.4.2"))
    again, begun = fleet.start(asked("deploy", version="1.4.2"))
    clock.now += 10
    later, begun_later = fleet.start(asked("deploy", version="1.4.2"))
    assert first["id"] == again["id"] == later["id"]
    assert not begun
    assert not begun_later
    assert fleet.effects() == {"effects": {"inv_1": 1}, "asked": {"inv_1": 3}}


def test_a_rollback_puts_the_version_before_back(fleet: Fleet, clock: Clock) -> None:
    """And so does a second one: it goes back to what was live before it."""
    for correlation_id, expected in (("inv_1", "1.4.0"), ("inv_2", "1.4.1")):
        fleet.start(asked("rollback", correlation_id))
        clock.now += 3
        assert fleet.deployment("api-service", "production").version == expected


def test_a_restart_keeps_the_version_and_renews_every_replica(fleet: Fleet, clock: Clock) -> None:
    """Each replica has a later start time, one after the other."""
    rollout, _ = fleet.start(asked("restart"))
    clock.now += 3
    after = fleet.deployment("api-service", "production")
    started = [replica.started_at for replica in after.replicas]
    assert started == sorted(started)
    assert versions(fleet) == ["1.4.1"] * 3
    assert fleet.rollout(rollout["id"])["text"] == "api-service in production was restarted, 3 replicas."


@pytest.mark.parametrize("replicas", [0, 1, 3, 5])
def test_scaling_ends_with_the_wanted_number(fleet: Fleet, clock: Clock, replicas: int) -> None:
    """Up, down, to nothing, and to what it is already."""
    rollout, _ = fleet.start(asked("scale", replicas=replicas))
    clock.now += 3
    assert len(versions(fleet)) == replicas
    assert fleet.rollout(rollout["id"])["state"] == "succeeded"


def test_a_migration_moves_the_schema_and_cannot_be_stopped(fleet: Fleet, clock: Clock) -> None:
    """Stopping half way is refused with what to do."""
    rollout, _ = fleet.start(asked("migrate", version="1.4.2"))
    with pytest.raises(FleetError, match="cannot be stopped half way; wait"):
        fleet.cancel(rollout["id"])
    clock.now += 3
    assert fleet.deployment("api-service", "production").schema_version == "1.4.2"


def test_a_cancelled_rollout_puts_everything_back(fleet: Fleet, clock: Clock) -> None:
    """It is stopping for a moment, then as it was before."""
    before = fleet.deployment("api-service", "production")
    rollout, _ = fleet.start(asked("deploy", version="1.4.2"))
    clock.now += 1.5
    assert fleet.cancel(rollout["id"])["state"] == "cancelling"
    clock.now += 0.5
    assert fleet.rollout(rollout["id"])["state"] == "cancelled"
    assert fleet.deployment("api-service", "production") == before


def test_cancelling_what_ended_changes_nothing(fleet: Fleet, clock: Clock) -> None:
    """A success that came first stays a success."""
    rollout, _ = fleet.start(asked("deploy", version="1.4.2"))
    clock.now += 3
    assert fleet.cancel(rollout["id"])["state"] == "succeeded"


def test_a_rollout_told_to_fail_is_undone(fleet: Fleet, clock: Clock) -> None:
    """A replica stays unhealthy half way, and the end is as it was before."""
    before = fleet.deployment("api-service", "production")
    fleet.put_faults("api-service", Faults(fail_rollout=True))
    rollout, _ = fleet.start(asked("deploy", version="1.4.2"))
    clock.now += 2
    assert readings.view(fleet.deployment("api-service", "production"))["health"] == "degraded"
    clock.now += 1
    done = fleet.rollout(rollout["id"])
    assert done["state"] == "failed"
    assert "did not become healthy" in done["text"]
    assert fleet.deployment("api-service", "production") == before


def test_a_slow_fleet_takes_that_much_longer(fleet: Fleet, clock: Clock) -> None:
    """`slow_s` is added to the length of a rollout."""
    fleet.put_faults("*", Faults(slow_s=10))
    rollout, _ = fleet.start(asked("deploy", version="1.4.2"))
    clock.now += 12
    assert fleet.rollout(rollout["id"])["state"] == "running"
    clock.now += 1
    assert fleet.rollout(rollout["id"])["state"] == "succeeded"


def test_a_second_rollout_of_the_same_service_has_to_wait(fleet: Fleet, clock: Clock) -> None:
    """Another service or environment does not."""
    rollout, _ = fleet.start(asked("deploy", version="1.4.2"))
    with pytest.raises(FleetError, match=f"in progress .{rollout['id']}.; wait for it or cancel it"):
        fleet.start(asked("restart", "inv_2"))
    assert fleet.start({**asked("restart", "inv_3"), "environment": "staging"})[1]
    assert "inv_2" not in fleet.effects()["effects"]


def test_an_unknown_version_is_answered_with_the_near_ones(fleet: Fleet) -> None:
    """And nothing is performed."""
    with pytest.raises(FleetError, match=r"no version 1\.4\.9; the nearest there are: 1\.4\.2, 1\.4\.1") as refusal:
        fleet.start(asked("deploy", version="1.4.9"))
    assert refusal.value.status == 422
    assert fleet.effects()["effects"] == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"service": "api-servic"}, "There is no service 'api-servic'"),
        ({"environment": "moon"}, "There is no environment 'moon'; there are staging, production"),
        ({"kind": "explode"}, "kind must be one of deploy"),
        ({"correlation_id": ""}, "correlation_id must be a text"),
        ({"params": []}, "params must be an object"),
        ({"kind": "scale", "params": {"replicas": 21}}, "from 0 to 20"),
        ({"kind": "scale", "params": {"replicas": True}}, "from 0 to 20"),
    ],
)
def test_what_cannot_be_is_refused_in_words(fleet: Fleet, change: dict[str, Any], words: str) -> None:
    """Each with a status and what would be right."""
    with pytest.raises(FleetError, match=words):
        fleet.start({**asked("deploy", version="1.4.2"), **change})


def test_everything_survives_a_restart_in_the_middle_of_a_rollout(path: Path, clock: Clock) -> None:
    """A new process on the same file goes on where the old one was, by the clock."""
    first = Store(path, clock())
    rollout, _ = Fleet(first, rollout_s=3, clock=clock).start(asked("deploy", version="1.4.2"))
    first.close()
    clock.now += 2
    second = Store(path, clock())
    reborn = Fleet(second, rollout_s=3, clock=clock)
    assert versions(reborn) == ["1.4.2", "1.4.2", "1.4.2"]
    clock.now += 1
    assert reborn.rollout(rollout["id"])["state"] == "succeeded"
    assert reborn.start(asked("deploy", version="1.4.2"))[1] is False
    assert reborn.effects()["effects"] == {"inv_1": 1}
    second.close()


def test_faults_of_one_service_come_before_those_of_all(fleet: Fleet) -> None:
    """So that one can be spared."""
    fleet.put_faults("*", Faults(status_5xx=503))
    fleet.put_faults("ledger", Faults())
    assert fleet.faults("api-service").status_5xx == 503
    assert fleet.faults("ledger") == Faults()
    fleet.clear_faults()
    assert fleet.faults("api-service") == Faults()


def test_wrong_faults_are_all_named_at_once() -> None:
    """A typo in a fault must not make a test pass by doing nothing."""
    with pytest.raises(FleetError, match=r"'slow' is not a fault.*hang must be.*status_5xx must be 500"):
        parse({"slow": 1, "hang": 1, "status_5xx": 404})


def test_logs_hold_traffic_and_rollout_steps_in_order(fleet: Fleet, clock: Clock) -> None:
    """As many lines as asked for, oldest first."""
    fleet.start(asked("restart"))
    clock.now += 3
    deployment = fleet.deployment("api-service", "production")
    lines = readings.log_lines(deployment, fleet.rollouts(None), clock(), 30)
    assert len(lines) == 30
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
    assert any("NOTICE api-service in production was restarted" in line["text"] for line in lines)
    assert readings.log_lines(deployment, [], clock(), 0) == []
