"""The list of connectors. Refuses to load what is not named in OPSGATE_CONNECTORS, however it was installed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from opsgate.connectors import Connector, Operation

BUILT_IN = {
    "sandbox": "workers.connectors.sandbox:SandboxConnector",
    "prometheus": "workers.connectors.prometheus:PrometheusConnector",
}
ENTRY_POINTS = "opsgate.connectors"
"""Third parties offer a Connector class here, under its name. It is called with the environment, as those above."""


class ConnectorsWrong(Exception):
    """All problems with the wanted connectors at once, a line each."""


def load(names: Iterable[str], environment: Mapping[str, str]) -> dict[str, Operation[Any]]:
    """The operations of the named connectors, by operation name; each connector is made from `environment`.

    A connector raises ValueError for settings that are missing or wrong; all of them end up in ConnectorsWrong.
    """
    problems: list[str] = []
    operations: dict[str, Operation[Any]] = {}
    for name in dict.fromkeys(names):
        make = _find(name)
        if make is None:
            problems.append(f"There is no connector {name!r}; correct OPSGATE_CONNECTORS (built in: {_known()}).")
            continue
        try:
            connector = make(environment)
        except ValueError as error:
            problems.append(f"{name}: {error}")
            continue
        for operation in connector.operations():
            if operation.name.partition(".")[0] != name:
                problems.append(f"{name}: its operation {operation.name} must be named {name}.something.")
            operations[operation.name] = operation
    if problems:
        raise ConnectorsWrong("\n".join(problems))
    return operations


def _find(name: str) -> Callable[[Mapping[str, str]], Connector] | None:
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        return getattr(import_module(module), attribute)  # type: ignore[no-any-return]
    for found in entry_points(group=ENTRY_POINTS, name=name):
        return found.load()  # type: ignore[no-any-return]
    return None


def _known() -> str:
    return ", ".join(BUILT_IN)
