"""The bench is ready to run: its hostile lines are what they say, and its figures end up where the docs show them.

No time is asserted here; `python -m bench --only hostile` measures it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

import bench.__main__ as program
from bench import hostile
from gateway.domain.errors import Mistake
from gateway.domain.grammar import normalize

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", hostile.SHAPES)
@pytest.mark.parametrize("size", [hostile.SMALL, hostile.LARGE])
def test_a_hostile_line_has_the_size_it_is_shown_with(name: str, size: int) -> None:
    """Bytes in UTF-8, to within one percent."""
    made = hostile.text(hostile.SHAPES[name], size)
    assert len(made.encode()) == pytest.approx(size, rel=0.01)


def test_piled_accents_are_refused_before_unicode_sorts_them() -> None:
    """Sorting them costs quadratic time; hiding invisible marks between them does not help."""
    pile = "\u0301\u0316" * 16
    for piled in (pile, "\u200b".join(pile)):
        with pytest.raises(Mistake, match="More than 30 accents"):
            normalize(f"help a{piled}")
    assert normalize("e\u0301" * 100) == "é" * 100


def test_a_line_of_letters_that_stand_for_words_is_refused() -> None:
    """U+FDFA becomes eighteen letters; a few of them are fine."""
    with pytest.raises(Mistake, match="stand for a whole word"):
        normalize("\ufdfa" * 100)
    assert normalize("\ufdfa") == unicodedata.normalize("NFKC", "\ufdfa")


def test_the_figures_kept_are_the_figures_shown() -> None:
    """bench/results.json and the table of docs/performance.md come from one run."""
    found = json.loads(program.RESULTS.read_text())
    shown = program.PAGE.read_text().split(program.BEGIN)[1].split(program.END)[0]
    assert shown.strip() == program.table(found)
    assert {"submit", "start_ms", "decision_ms_by_people", "hostile"} <= set(found)
    assert set(found["hostile"]) == set(hostile.SHAPES)
    assert all(f["ms_100_kb"] < hostile.LIMIT_MS for f in found["hostile"].values())


def test_figures_of_two_machines_are_never_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a run on another machine would make a table of nothing."""
    other = tmp_path / "results.json"
    other.write_text(json.dumps({"machine": "64 cores, of somebody else"}))
    monkeypatch.setattr(program, "RESULTS", other)
    with pytest.raises(SystemExit, match="another machine"):
        program.kept()


def test_one_section_runs_by_itself_and_a_quick_look_keeps_nothing() -> None:
    """`python -m bench --only hostile --quick` needs no server."""
    before = program.RESULTS.read_bytes(), program.PAGE.read_bytes()
    command = [sys.executable, "-m", "bench", "--only", "hostile", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "| backslashes |" in done.stdout
    assert "| at once |" not in done.stdout
    assert (program.RESULTS.read_bytes(), program.PAGE.read_bytes()) == before
