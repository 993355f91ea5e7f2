"""The generated references say what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.generate import documents
from gateway.settings import ROOT

DOCUMENTS = documents()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_generated_reference_is_not_stale(path: Path) -> None:
    """Run `python -m docs.generate` after a change of contracts, settings, commands or routes."""
    assert path.exists(), f"{path.relative_to(ROOT)} is missing; run `python -m docs.generate`"
    assert path.read_text(encoding="utf-8") == DOCUMENTS[path], "stale; run `python -m docs.generate`"
