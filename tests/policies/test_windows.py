"""A16 with real clocks: change windows under the gateway's local time, around the changes to and from summer time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from gateway.domain.deciding import local_times
from opsgate.contracts.base import JsonObject
from tests.policies.engine import POLICIES, ask_all
from tests.policies.inputs import HARDENED, question

ZONES = ("Europe/London", "America/New_York")
Effects = Callable[[dict[str, object], list[str]], dict[str, str]]


def window(zone: str, start: str, end: str, weekdays: tuple[str, ...] = (), kind: str = "allow") -> dict[str, object]:
    return {
        "name": "the window",
        "kind": kind,
        "environments": [],
        "services": [],
        "zone": zone,
        "weekdays": list(weekdays),
        "from": start,
        "to": end,
    }


@pytest.fixture
def effects(opa: Path, tmp_path: Path) -> Effects:
    """What is answered at each of these moments (RFC 3339) under one window."""

    def ask(rule: dict[str, object], moments: list[str]) -> dict[str, str]:
        served = tmp_path / "policies"
        shutil.copytree(POLICIES, served)
        (served / "data.json").write_text(json.dumps({**HARDENED, "windows": [rule]}))
        return {moment: answer["effect"] for moment, answer in ask_all(opa, _at(moments), served).items()}

    return ask


def _at(moments: list[str]) -> dict[str, JsonObject]:
    asked: dict[str, JsonObject] = {}
    for moment in moments:
        now_ns = int(datetime.fromisoformat(moment).timestamp()) * 10**9
        local = {zone: time.model_dump() for zone, time in local_times(now_ns, ZONES).items()}
        asked[moment] = question(now={"unix_ns": now_ns, "local": local})
    return asked


def test_a16_a_window_keeps_its_wall_time_when_london_goes_to_summer_time(effects: Effects) -> None:
    """9:00 in London is 9:00 UTC on Saturday and 8:00 UTC on Sunday 29 March 2026."""
    assert effects(
        window("Europe/London", "09:00", "10:00"),
        [
            "2026-03-28T08:59:00+00:00",
            "2026-03-28T09:00:00+00:00",
            "2026-03-29T08:00:00+00:00",
            "2026-03-29T08:59:00+00:00",
            "2026-03-29T09:00:00+00:00",
        ],
    ) == {
        "2026-03-28T08:59:00+00:00": "deny",
        "2026-03-28T09:00:00+00:00": "pending",
        "2026-03-29T08:00:00+00:00": "pending",
        "2026-03-29T08:59:00+00:00": "pending",
        "2026-03-29T09:00:00+00:00": "deny",
    }


def test_a16_an_hour_that_does_not_exist_opens_nothing(effects: Effects) -> None:
    """London's clocks go from 0:59 to 2:00 on 29 March 2026: a window from 1:00 to 2:00 does not come that night."""
    answers = effects(
        window("Europe/London", "01:00", "02:00"),
        ["2026-03-28T01:30:00+00:00", "2026-03-29T00:59:00+00:00", "2026-03-29T01:00:00+00:00"],
    )
    assert list(answers.values()) == ["pending", "deny", "deny"]


def test_a16_an_hour_that_comes_twice_is_the_window_twice(effects: Effects) -> None:
    """On 25 October 2026 it is 1:30 in London at 0:30 and at 1:30 UTC."""
    answers = effects(
        window("Europe/London", "01:00", "02:00", kind="deny"),
        [
            "2026-10-24T23:59:00+00:00",
            "2026-10-25T00:30:00+00:00",
            "2026-10-25T01:30:00+00:00",
            "2026-10-25T02:00:00+00:00",
        ],
    )
    assert list(answers.values()) == ["pending", "deny", "deny", "pending"]


def test_a16_a_window_over_midnight_spans_the_change_in_new_york(effects: Effects) -> None:
    """Saturday 22:00 to Sunday 4:00 is five hours long on 8 March 2026 and seven on 1 November 2026."""
    night = window("America/New_York", "22:00", "04:00", ("sat",))
    spring = [
        "2026-03-08T02:59:00+00:00",
        "2026-03-08T03:00:00+00:00",
        "2026-03-08T07:59:00+00:00",
        "2026-03-08T08:00:00+00:00",
    ]
    autumn = [
        "2026-11-01T01:59:00+00:00",
        "2026-11-01T02:00:00+00:00",
        "2026-11-01T08:59:00+00:00",
        "2026-11-01T09:00:00+00:00",
    ]
    assert list(effects(night, spring + autumn).values()) == ["deny", "pending", "pending", "deny"] * 2


def test_a16_each_zone_changes_on_its_own_day(effects: Effects) -> None:
    """Between 8 and 29 March 2026 New York is four hours behind London, not five; its window follows its own clocks."""
    answers = effects(
        window("America/New_York", "09:00", "10:00"),
        ["2026-03-06T14:30:00+00:00", "2026-03-10T13:30:00+00:00", "2026-03-10T14:30:00+00:00"],
    )
    assert list(answers.values()) == ["pending", "pending", "deny"]
