"""Which connectors a worker loads: exactly those it was told to, by name."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from opsgate.connectors import Connector
from tests.unit.runner_doubles import Work
from workers import connectors
from workers.connectors import ConnectorsWrong, load

SANDBOX = {"OPSGATE_SANDBOX_URL": "http://127.0.0.1:1"}


class Double(Connector):
    """What a third party would publish."""

    name = "double"

    def __init__(self, environment: Any) -> None:
        self.environment = environment

    def operations(self) -> tuple[Work, ...]:
        return (Work(),)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that offers `double`, and `wrong` whose operations have another's name."""

    def entry_points(group: str, name: str) -> list[EntryPoint]:
        assert group == "opsgate.connectors"
        value = f"{__name__}:Double"
        return [EntryPoint(name, value, group)] if name in ("double", "wrong") else []

    monkeypatch.setattr(connectors, "entry_points", entry_points)


def test_only_named_connectors_are_loaded(installed: None) -> None:
    """A package that is installed but not named offers nothing."""
    assert set(load(["sandbox"], SANDBOX)) == {
        "sandbox.status",
        "sandbox.deploy",
        "sandbox.rollback",
        "sandbox.restart",
        "sandbox.scale",
        "sandbox.migrate",
        "sandbox.logs",
        "sandbox.page",
    }
    assert "double.work" in load(["sandbox", "double"], SANDBOX)


def test_everything_wrong_is_said_at_once(installed: None) -> None:
    """An unknown name, missing settings, a foreign operation name."""
    with pytest.raises(ConnectorsWrong) as wrong:
        load(["sandbox", "prometheus", "clowd", "wrong"], {})
    lines = str(wrong.value).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("sandbox: OPSGATE_SANDBOX_URL is missing")
    assert lines[1].startswith("prometheus: OPSGATE_PROMETHEUS_URL and")
    assert lines[2] == "There is no connector 'clowd'; correct OPSGATE_CONNECTORS (built in: sandbox, prometheus)."
    assert lines[3] == "wrong: its operation double.work must be named wrong.something."


def test_an_address_without_a_scheme_is_refused() -> None:
    """At the start, not at the first Job."""
    with pytest.raises(ConnectorsWrong, match="begins with http:// or https://"):
        load(["sandbox"], {"OPSGATE_SANDBOX_URL": "fleet.internal:8421"})


def test_each_operation_has_a_schema_that_refuses_unknown_fields() -> None:
    """The catalog is checked against it."""
    for operation in load(["sandbox"], SANDBOX).values():
        schema = operation.input.model_json_schema()
        assert schema["additionalProperties"] is False, operation.name
        assert operation.summary
