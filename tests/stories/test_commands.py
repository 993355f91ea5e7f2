"""The other commands of the practice company: each does what it says, on the fleet itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from opsgate.contracts.invocations import State
from tests.stories.room import Room

if TYPE_CHECKING:
    from tests.rig.stages import ProductionStage


@pytest.mark.slow
def test_scale_and_rollback_change_the_fleet_side_by_side(room: Room) -> None:
    """Two services at once: one gets another replica, one goes back to the version before."""
    before = room.fleet.get("/v1/services/staging/api-service").json()
    wanted = 4 if len(before["replicas"]) != 4 else 3
    was = room.fleet.get("/v1/services/staging/ledger").json()
    scaled = room.ask("alice", f"scale staging api-service {wanted}")
    rolled = room.ask("bob", "rollback staging ledger")
    assert room.until("alice", scaled.id, State.SUCCEEDED).card.text.startswith("api-service in staging runs")
    room.until("bob", rolled.id, State.SUCCEEDED)
    assert len(room.fleet.get("/v1/services/staging/api-service").json()["replicas"]) == wanted
    assert room.version("ledger", "staging") == was["previous_version"]
    assert (room.effects(scaled.id), room.effects(rolled.id)) == (1, 1)


def test_logs_are_shown_as_the_output_of_the_command(room: Room) -> None:
    """As many lines as were asked for, oldest first."""
    asked = room.ask("alice", "logs production api-service --lines 5")
    done = room.until("alice", asked.id, State.SUCCEEDED)
    assert "log lines of api-service in production. Asked by Alice." in done.card.text
    lines = room.log("alice", asked.id)
    assert 1 <= len(lines) <= 5


def test_a_read_offers_no_buttons_and_needs_no_approval(room: Room) -> None:
    """Looking is for every member, also at what others own."""
    asked = room.ask("carol", "status web-shop")
    done = room.until("carol", asked.id, State.SUCCEEDED)
    assert done.card.buttons == ()
    assert "staging" in done.card.text
    assert "production" in done.card.text


def test_a_metric_is_answered_from_prometheus(production: ProductionStage) -> None:
    """A named question of the practice company, asked of a real Prometheus."""
    with Room(production) as room:
        asked = room.ask("alice", "metric up production api-service --window 60s")
        done = room.until("alice", asked.id, State.SUCCEEDED)
        assert "Fewest healthy replicas of api-service in production" in done.card.text


def test_a_question_prometheus_does_not_know_is_refused_with_those_there_are(production: ProductionStage) -> None:
    """Free queries are not taken."""
    with Room(production) as room:
        asked = room.ask("alice", "metric everything production api-service")
        failed = room.until("alice", asked.id, State.FAILED)
        assert "There is no query 'everything'; there are cpu, error_rate, request_rate, up." in failed.card.text
