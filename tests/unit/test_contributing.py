"""CONTRIBUTING.md is true: its blocks are run as they stand, in a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"^## (.+?)\n.*?^```bash\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text(), re.S | re.M)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What is in the repository, without data and environments."""
    for folder in ("opsgate", "gateway", "workers", "commands", "examples"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize(("title", "script"), BLOCKS, ids=[title for title, _ in BLOCKS])
def test_the_steps_of_contributing_work_as_they_stand(title: str, script: str, copy: Path) -> None:
    """A newcomer who pastes the block gets what the text says."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=copy,
        env={"PATH": path, "HOME": str(copy)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = {"Add a command": "canary", "Add a connector": "clock.now"}[title]
    assert expected in done.stdout


def test_both_ways_to_contribute_are_shown() -> None:
    """The document cannot lose a block unseen."""
    assert [title for title, _ in BLOCKS] == ["Add a command", "Add a connector"]
