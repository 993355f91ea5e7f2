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
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from dev.processes import answers, clean_environment
from opsgate.contracts.audit import AuditRecord
from tests.rig.stages import EmbeddedStage

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


def children(pid: int) -> list[int]:
    """The processes a process has started itself."""
    with suppress(FileNotFoundError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def alive(pid: int | str) -> bool:
    """Whether a process still runs; one that ended but was not collected by its new parent does not."""
    with suppress(ProcessLookupError, FileNotFoundError):
        os.kill(int(pid), 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def people(facts: dict[str, int | str], person: str = "alice") -> httpx2.Client:
    """An HTTP client signed in as a persona; a context."""
    answer = httpx2.post(f"{facts['url']}/v1/dev/personas/{person}/token", trust_env=False).raise_for_status()
    signed = {"Authorization": f"Bearer {answer.json()['token']}"}
    return httpx2.Client(base_url=str(facts["url"]), headers=signed, trust_env=False, timeout=15)


def once() -> dict[str, str]:
    return {"Idempotency-Key": uuid4().hex}


def ask(client: httpx2.Client, line: str) -> str:
    """The id of the Invocation a line becomes."""
    answer = client.post("/v1/messages", json={"text": line}, headers=once()).raise_for_status()
    return str(answer.json()["invocation"]["id"])


def until(client: httpx2.Client, invocation: str, state: str, seconds: float = 20) -> dict[str, Any]:
    """The Invocation once it is in this state, or as it is when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        seen: dict[str, Any] = client.get(f"/v1/invocations/{invocation}").json()
        if seen["state"] == state or time.monotonic() > deadline:
            return seen
        time.sleep(0.05)


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


@pytest.mark.slow
def test_ctrl_c_while_it_is_starting_leaves_no_child(tmp_path: Path) -> None:
    """As soon as there is something to leave behind."""
    with dev(tmp_path, "--port", "0") as process:
        deadline = time.monotonic() + 20
        while not (started := children(process.pid)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=20)
    assert (process.returncode, said) == (0, "\nStopped.\n")
    assert [pid for pid in started if alive(pid)] == []


@pytest.mark.slow
def test_a_second_start_over_the_same_folder_goes_on_where_the_first_stopped(tmp_path: Path) -> None:
    """What was done stays done, what waits still waits and can be approved, and the audit log has no seam."""
    with dev(tmp_path, "--port", "0") as process:
        with people(ready(tmp_path)) as alice:
            done = ask(alice, "deploy staging api-service --version 1.4.0")
            waiting = ask(alice, "deploy production api-service --version 1.4.0")
            assert until(alice, done, "succeeded")["state"] == "succeeded"
            log = alice.get(f"/v1/invocations/{done}/log").json()["items"]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    (tmp_path / "ready.json").unlink()
    with dev(tmp_path, "--port", "0") as process:
        facts = ready(tmp_path)
        with people(facts) as alice, people(facts, "bob") as bob, people(facts, "carol") as carol:
            assert [kept["id"] for kept in alice.get("/v1/invocations").json()["items"]] == [waiting, done]
            assert alice.get(f"/v1/invocations/{done}/log").json()["items"] == log != []
            seen = bob.get(f"/v1/invocations/{waiting}").raise_for_status().json()
            line = f"approve {waiting} {seen['binding_hash'].removeprefix('sha256:')[:8]}"
            answer = bob.post("/v1/messages", json={"text": line}, headers=once()).raise_for_status()
            assert answer.json()["kind"] != "refusal", answer.json()
            assert until(alice, waiting, "succeeded")["state"] == "succeeded"
            records = [AuditRecord.model_validate(r) for r in carol.get("/v1/audit?limit=200").json()["items"]]
        fleet = httpx2.get(f"{facts['sandbox_url']}/api-service/version?environment=staging", trust_env=False)
        assert fleet.json()["version"] == "1.4.0"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert {record.invocation_id for record in records} >= {done, waiting}
    assert [record.seq for record in records] == list(range(records[0].seq, records[0].seq + len(records)))
    assert all_ended(facts)


def test_a_second_house_in_the_same_folder_is_refused_in_one_line(embedded: EmbeddedStage) -> None:
    """Two gateways of one name would write one audit chain; the first goes on undisturbed."""
    data = embedded.files.folder / "data"
    with dev(data, "--port", "0") as second:
        said, _ = second.communicate(timeout=20)
    assert second.returncode == 1
    assert said == (
        f"Opsgate already runs over {data}. Stop it, or give this one a folder of its own: "
        ".venv/bin/python -m dev --port 0 --data ANOTHER_FOLDER\n"
    )
    assert embedded.house.running
    assert answers(f"{embedded.url}/readyz")


@pytest.mark.slow
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


@pytest.mark.parametrize("port", ["eighty", "99999"])
def test_a_port_that_is_none_is_named(tmp_path: Path, port: str) -> None:
    """Said before anything is started, also when it comes from OPSGATE_PORT."""
    command = [sys.executable, "-m", "dev", "--data", str(tmp_path)]
    env = clean_environment() | {"OPSGATE_PORT": port}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.endswith(f"{port!r} is no port (OPSGATE_PORT or --port); give a number up to 65535")


@pytest.mark.parametrize("program", ["dev", "dev.opa"])
def test_no_way_to_get_opa_is_one_line_that_says_what_to_do(tmp_path: Path, program: str) -> None:
    """By `make dev` itself (its set-up asks first) and by the house; nothing is started."""
    (tmp_path / "bin").mkdir()
    options = ["--port", "0", "--data", str(tmp_path / "data")] if program == "dev" else []
    env = {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path), "OPSGATE_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", program, *options],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout.count("\n") == 1, done.stdout
    assert done.stdout.startswith("Opsgate needs Open Policy Agent 1.22.2 and found no way to get it (")
    assert done.stdout.endswith("Put an opa 1.21.3 or newer on PATH, or install Go, then run this again.\n")


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
