"""What the tests of trouble share: the looks an operator takes at a house, and the state one leaves it in.

Refuses to repair: a house that is not well again after a test fails that test.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from opsgate.audit import verify
from tests.rig.stages import Stage
from tests.stories.room import Room, eventually


def failing(stage: Stage, node: int = 0) -> dict[str, str]:
    """What `/readyz` says is wrong, by part; a 503 says the same as a 200."""
    checks = httpx2.get(f"{stage.urls[node]}/readyz", trust_env=False, timeout=10).json()["checks"]
    return {name: check["detail"] for name, check in checks.items() if not check["ok"]}


def ready(stage: Stage, node: int = 0) -> bool:
    """Whether commands can be decided and written down."""
    return httpx2.get(f"{stage.urls[node]}/readyz", trust_env=False, timeout=10).status_code == 200


def complains(stage: Stage, part: str, node: int = 0) -> str:
    """What `/readyz` says of this part, once it does."""
    eventually(lambda: part in failing(stage, node), what=f"a complaint about {part}")
    return failing(stage, node)[part]


def well(stage: Stage) -> bool:
    """Nothing is wrong, in any process. (Nobody offers Prometheus on a laptop, and that is not trouble.)"""
    expected = {"operations"} if stage.profile == "embedded" else set()
    return all(set(failing(stage, node)) <= expected for node in range(len(stage.urls)))


@contextmanager
def recovering(stage: Stage) -> Iterator[Room]:
    """A room in which something breaks. Afterwards all is well again, and the audit log holds."""
    with Room(stage) as room:
        yield room
        eventually(lambda: well(stage), what="everything being well again")
        assert verify(room.audit()).ok
