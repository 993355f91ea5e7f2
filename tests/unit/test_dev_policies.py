"""Policies are reloaded while the house runs, and a broken one never comes into force."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from dev.policies import BrokenPolicy, OpaServer, build, revision_of, snapshot

GOOD = "package gateway.decision\n\nresult := {number}\n"


def write(folder: Path, number: int) -> None:
    (folder / "gate.rego").write_text(GOOD.replace("{number}", str(number)))


def soon(what: Callable[[], Any], expected: object, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while (seen := what()) != expected:
        assert time.monotonic() < deadline, f"still {seen!r}, expected {expected!r}"
        time.sleep(0.05)


@pytest.fixture
def server(tmp_path: Path, opa: Path) -> Iterator[OpaServer]:
    policies = tmp_path / "policies"
    policies.mkdir()
    write(policies, 1)
    running = OpaServer(policies, tmp_path / "data", opa).start()
    yield running
    running.stop()


def result(server: OpaServer) -> object:
    try:
        return httpx2.get(f"{server.url}/v1/data/gateway/decision/result", trust_env=False).json().get("result")
    except httpx2.HTTPError:
        return None


def status(server: OpaServer) -> dict[str, str]:
    read: dict[str, str] = json.loads(server.status_file.read_text())
    return read


def test_opa_answers_with_the_revision_of_the_folder(server: OpaServer) -> None:
    """The revision in the status file is the one OPA itself reports."""
    assert result(server) == 1
    assert server.live_revision() == status(server)["revision"] == revision_of(snapshot(server.policies))
    assert status(server)["error"] == ""


def test_a_changed_policy_is_live_within_seconds(server: OpaServer) -> None:
    """No restart: the file is saved, and the next decision uses it."""
    before = server.live_revision()
    write(server.policies, 2)
    soon(lambda: result(server), 2)
    soon(lambda: status(server)["revision"] == server.live_revision() != before, True)


def test_a_broken_policy_leaves_the_old_one_live_and_says_where(server: OpaServer) -> None:
    """The status file has file, line and message; mending the file clears it."""
    before = status(server)
    (server.policies / "gate.rego").write_text("package gateway.decision\n\nresult := ))\n")
    soon(lambda: status(server)["error"].startswith("policies/gate.rego:3: "), True)
    assert result(server) == 1
    assert status(server)["revision"] == before["revision"] == server.live_revision()
    write(server.policies, 1)
    soon(lambda: status(server)["error"], "")


def test_a_change_in_a_policy_test_changes_nothing(server: OpaServer) -> None:
    """Tests are not served, so they are not part of the revision."""
    before = snapshot(server.policies)
    (server.policies / "gate_test.rego").write_text("package gateway.decision_test\n\ntest_x := \n")
    assert snapshot(server.policies) == before


@pytest.mark.slow
def test_a_dead_opa_is_started_again(server: OpaServer) -> None:
    """A crash costs seconds; in between nobody answers, which everybody must take as a no."""
    server.child.kill()
    assert result(server) is None
    soon(lambda: result(server), 1)


def test_an_unused_variable_is_an_error_too(tmp_path: Path, opa: Path) -> None:
    """Strict mode: most such lines are a rule that says less than its author thinks."""
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "gate.rego").write_text("package gateway\n\nallow if {\n\tunused := 1\n}\n")
    with pytest.raises(BrokenPolicy, match=r"^policies/gate.rego:4: assigned var unused unused$"):
        build(opa, snapshot(policies), tmp_path / "bundle.tar.gz")
    assert not (tmp_path / "bundle.tar.gz").exists()
