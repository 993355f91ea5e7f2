"""The first thing a newcomer runs: it must speak plainly to a Python that is too old."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from dev import machine

BOOTSTRAP = Path(__file__).parents[2] / "dev" / "bootstrap.py"


def test_an_old_python_can_read_the_script() -> None:
    """It parses as Python 3.6, so an old interpreter reaches the line that says what is wrong."""
    ast.parse(BOOTSTRAP.read_text(), feature_version=(3, 6))


def test_an_old_python_is_told_in_one_line_what_to_do() -> None:
    """The interpreter's path, its version, and a command that helps."""
    pretend = (
        f"import sys, runpy; sys.version_info = (3, 9, 1); runpy.run_path({str(BOOTSTRAP)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", pretend], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "needs Python 3.11 or newer" in done.stderr
    assert "is 3.9. Install one and name it: make dev PYTHON=python3.12" in done.stderr


def test_without_root_the_missing_servers_are_named_with_the_line_that_installs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It stops before anything long starts."""
    monkeypatch.setattr(machine, "missing", lambda: ["postgresql", "redis-server"])
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(SystemExit) as stopped:
        machine.main()
    said = str(stopped.value)
    assert "sudo apt-get install -y --no-install-recommends postgresql redis-server" in said
    assert "\n" not in said
