"""`make dev` as a newcomer meets it: one ready line, plain words when it cannot start, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from dev.processes import clean_environment

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def dev(data: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`python -m dev` over a data folder, killed at the end whatever happened."""
    command = [sys.executable, "-m", "dev", "--data", str(data), "--ready-file", str(data / "ready.json"), *options]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, cwd=ROOT, env=clean_environment(), text=True, **streams) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


def ready(data: Path, seconds: float = 30) -> dict[str, int | str]:
    file, deadline = data / "ready.json", time.monotonic() + seconds
    while not file.exists():
        assert time.monotonic() < deadline, (data / "gateway.log").read_text()
        time.sleep(0.05)
    facts: dict[str, int | str] = json.loads(file.read_text())
    return facts


def alive(pid: int | str) -> bool:
    """Whether a process still runs; one that ended but was not collected by its new parent does not."""
    with suppress(ProcessLookupError, FileNotFoundError):
        os.kill(int(pid), 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def all_ended(facts: dict[str, int | str], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while any(alive(facts[name]) for name in ("pid", "opa_pid", "sandbox_pid")):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_it_says_once_that_it_is_ready_and_ctrl_c_stops_every_child(tmp_path: Path) -> None:
    """One ready line with the address, who one can be, and a first command; then nothing of it runs any more."""
    began = time.monotonic()
    with dev(tmp_path, "--port", "0") as process:
        facts = ready(tmp_path)
        took = time.monotonic() - began
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=20)
    assert said.count("Opsgate is ready at") == 1
    assert said.startswith(f"Opsgate is ready at {facts['url']}\n")
    assert "Alice    developer, payments team" in said
    assert "/ops deploy production api-service --version 1.4.2" in said
    assert said.endswith("Stopped.\n")
    assert process.returncode == 0
    assert all_ended(facts)
    assert took < 10, f"a second start took {took:.1f} s"


def test_a_killed_parent_leaves_no_child(tmp_path: Path) -> None:
    """kill -9 gives no chance to clean up; the Linux kernel does it."""
    with dev(tmp_path, "--port", "0") as process:
        facts = ready(tmp_path)
        process.kill()
        process.wait()
    assert all_ended(facts)


def test_a_taken_port_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    """And nothing was started."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with dev(tmp_path, "--port", str(port)) as process:
            said, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert said == (
        f"Port {port} is taken (another Opsgate?). Stop it, or choose another: OPSGATE_PORT={port + 1} make dev\n"
    )


def test_a_broken_policy_at_the_start_is_named_with_its_line(tmp_path: Path) -> None:
    """There is no old policy to fall back on, so nothing starts."""
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "gate.rego").write_text("package gateway\n\nallow := ))\n")
    with dev(tmp_path, "--port", "0", "--policies", str(policies)) as process:
        said, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "Mend it and try again:\npolicies/gate.rego:3: " in said


@pytest.mark.slow
def test_the_demo_plays_to_its_end(tmp_path: Path) -> None:
    """`make demo`: the whole story in under 30 seconds, exit code 0."""
    began = time.monotonic()
    command = [sys.executable, "-m", "dev.demo"]
    done = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "api-service 1.4.2 is live in production. Asked by Alice, approved by Bob." in done.stdout
    assert time.monotonic() - began < 30
