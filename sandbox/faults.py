"""The trouble the fleet can be told to make, for one service or all. Refuses unknown kinds of trouble."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from sandbox.errors import FleetError

EVERY = "*"


@dataclass(frozen=True)
class Faults:
    """`slow_s`: rollouts take this much longer. `fail_rollout`: rollouts begun now fail half way.

    `status_5xx`: answer this status and do nothing. `hang`: never answer and do nothing.
    `lose_answer`: do what was asked, then answer 500. `delay_s`: each answer comes this much later.
    """

    slow_s: float = 0
    fail_rollout: bool = False
    status_5xx: int = 0
    hang: bool = False
    lose_answer: bool = False
    delay_s: float = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def parse(body: dict[str, Any]) -> Faults:
    """Raises FleetError 422 that names everything wrong at once."""
    wrong = []
    values: dict[str, Any] = {}
    kinds = {field.name: field.type for field in fields(Faults)}
    for name, value in body.items():
        kind = kinds.get(name)
        if kind is None:
            wrong.append(f"{name!r} is not a fault; there are {', '.join(kinds)}")
        elif kind == "bool" and not isinstance(value, bool):
            wrong.append(f"{name} must be true or false")
        elif kind != "bool" and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
            wrong.append(f"{name} must be a number of 0 or more")
        elif name == "status_5xx" and value and not 500 <= value <= 599:
            wrong.append("status_5xx must be 500 to 599, or 0 for none")
        else:
            values[name] = int(value) if name == "status_5xx" else value
    if wrong:
        raise FleetError(422, "; ".join(wrong) + ".")
    return Faults(**values)
