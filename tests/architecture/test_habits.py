"""The house's habits that no linter checks: sizes, docstrings, lock files."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from gateway.settings import ROOT

PACKAGES = ("opsgate", "gateway", "workers", "adapters", "sandbox", "dev", "bench")
FILES = sorted(
    path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "__pycache__" not in path.parts
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_small_and_says_what_it_is_for(path: Path) -> None:
    """Under 400 lines (an adapter's under 300), and a module docstring."""
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= (300 if "adapters" in path.parts else 400)
    assert not source.strip() or ast.get_docstring(ast.parse(source)), "say what the file is for"


@pytest.mark.parametrize("path", [p for p in FILES if "flows" in p.parts], ids=lambda path: path.name)
def test_a_flow_stays_under_sixty_lines(path: Path) -> None:
    """One story a function, readable at once."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, node.name


def test_the_lock_file_has_hashes_and_no_addresses() -> None:
    """It says what, never from where."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert not re.search(r"https?://", text)
    assert text.count("==") <= text.count("--hash=sha256:")


def test_only_the_safe_question_is_asked_of_opa() -> None:
    """`/v1/query` ignores strict builtin errors, and a gateway that can write policies is a way in."""
    source = (ROOT / "gateway" / "infra" / "opa.py").read_text(encoding="utf-8")
    assert "query_rule" in source
    for risky in (
        "ad_hoc_query",
        "bulk_query_rule",
        "compile_query",
        "update_policy",
        "update_or_create",
        "patch_data",
    ):
        assert risky not in source
