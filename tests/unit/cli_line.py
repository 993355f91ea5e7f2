"""Types a line at the `opsgate` command line and gives back what a terminal would have seen."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from opsgate.cli import main
from tests.unit.stub_gateway import Reply, StubGateway


@dataclass(frozen=True)
class Typed:
    """`code`: the exit code. `out`, `err`: what was printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Type = Callable[[str], Typed]


def keyboard(gateway: StubGateway, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Type:
    """A terminal whose environment names the stub gateway; alice is one of its personas."""
    monkeypatch.setenv("OPSGATE_URL", gateway.url)
    monkeypatch.delenv("OPSGATE_TOKEN", raising=False)
    gateway.when("POST", "/v1/dev/personas/alice/token", Reply({"token": "token-of-alice", "expires_in": 60}))

    def enter(line: str) -> Typed:
        capsys.readouterr()
        code = main(shlex.split(line))
        out, err = capsys.readouterr()
        return Typed(code, out, err)

    return enter
