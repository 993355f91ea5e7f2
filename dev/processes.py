"""Child processes that never outlive their parent, on ports of their own; for the laptop and for tests.

Refuses to leave an orphan: on Linux the kernel ends a child when its parent dies, elsewhere `stop` does.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx2

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class ChildFailed(Exception):
    """A child ended or did not become ready; the text has the last lines it wrote."""


def free_port() -> int:
    """A TCP port on the loopback address that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment() -> dict[str, str]:
    """This process's environment without Opsgate's settings, which a shell may carry; OPA is still found."""
    kept = ("OPSGATE_CACHE", "OPSGATE_OPA_MIRROR", "OPSGATE_OPA_SHA256")
    return {name: value for name, value in os.environ.items() if name in kept or not name.startswith("OPSGATE_")}


def answers(url: str) -> bool:
    """Whether an HTTP GET is answered with success."""
    try:
        return httpx2.get(url, timeout=2, trust_env=False).is_success
    except httpx2.HTTPError:
        return False


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _die_with_parent() -> None:
    """Runs in the child before exec; async-signal-safe enough, for the library is loaded already."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Child:
    """One running program. Its output goes to `log`. Start it from a thread that lives as long as it should."""

    def __init__(
        self,
        name: str,
        command: Sequence[object],
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        account: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        """`account`: run as this other account (needs root). `stop_signal`: what ends it politely."""
        self.name, self.log, self.stop_signal = name, log, stop_signal
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env) if env is not None else None,
                cwd=cwd,
                user=account,
                group=account,
                # A group of its own: Ctrl-C reaches the parent only, which then stops its children in order.
                process_group=0,
                preexec_fn=_die_with_parent,
            )

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait_ready(self, ready: Callable[[], bool], seconds: float = 30) -> Child:
        """Return itself once `ready()` is true. Raises ChildFailed when it ended or took longer than `seconds`."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running:
                raise ChildFailed(f"{self.name} ended with code {self.process.returncode}:\n{self.tail()}")
            if time.monotonic() > deadline:
                self.stop()
                raise ChildFailed(f"{self.name} was not ready after {seconds:.0f} s:\n{self.tail()}")
            time.sleep(0.03)
        return self

    def signal(self, number: signal.Signals) -> None:
        """Send a signal: tests freeze (SIGSTOP) and wake (SIGCONT) a part with it."""
        self.process.send_signal(number)

    def stop(self, seconds: float = 10) -> int:
        """Ask it to end, insist after `seconds`; gives the exit code. Safe to call twice."""
        if self.running:
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.wait()

    def kill(self) -> None:
        """End it and what it started at once, as a crash of the machine would."""
        if self.running:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
