"""The practice fleet as a process, for tests of one part against it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from dev.processes import Child, answers, free_port

ROOT = Path(__file__).resolve().parents[2]


class FleetProcess:
    """A running fleet; `client` speaks to it as tests do, `child` is the process."""

    def __init__(self, folder: Path, rollout_s: float) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._rollout_s = rollout_s
        self.client = httpx2.Client(base_url=self.url, trust_env=False)
        self.child = self._start()

    def restart(self) -> None:
        """On the same port with the same file."""
        self.child.stop()
        self.child = self._start()

    def fault(self, **faults: Any) -> None:
        self.client.put("/v1/faults", json=faults).raise_for_status()

    def heal(self) -> None:
        self.client.delete("/v1/faults").raise_for_status()

    def effects(self, correlation_id: str) -> int:
        found: dict[str, int] = self.client.get("/v1/effects").json()["effects"]
        return found.get(correlation_id, 0)

    def _start(self) -> Child:
        command = [sys.executable, "-m", "sandbox", "--port", str(self.port), "--data", self._folder / "fleet.sqlite"]
        command += ["--rollout-seconds", str(self._rollout_s)]
        child = Child("The practice fleet", command, self._folder / "fleet.log", cwd=ROOT)
        return child.wait_ready(lambda: answers(f"{self.url}/healthz"))


@contextmanager
def fleet(folder: Path, rollout_s: float = 0.4) -> Iterator[FleetProcess]:
    """A fleet of its own in `folder`, stopped at the end."""
    process = FleetProcess(folder, rollout_s)
    try:
        yield process
    finally:
        process.client.close()
        process.child.stop()
