"""How long the gateway reads a line that was made to be slow to read. No limit of length stands before it here.

Refuses nothing: what the grammar makes of such a line (mostly a Mistake) does not matter, only what it costs.
"""

from __future__ import annotations

import time
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path

from gateway.domain.arguments import parse
from gateway.domain.catalog import Catalog
from gateway.domain.directory import Directory
from gateway.domain.errors import Mistake
from gateway.infra.files import load_catalog, load_directory

ROOT = Path(__file__).resolve().parent.parent
SMALL, LARGE = 10_000, 100_000
"""Bytes in UTF-8."""
LIMIT_MS = 50.0
ROUNDS = 7
ASKED = "deploy staging api-service --reason "

SHAPES: dict[str, tuple[str, str]] = {
    "quotes that open and close": ("", "\"'"),
    "a quote never closed": (ASKED + '"', "a "),
    "words and spaces": ("", "a "),
    "spaces": ("", " "),
    "dashes": ("", "-"),
    "long dashes": ("", "—"),
    "options": ("deploy ", "--reason "),
    "a name without end": (ASKED, "reason="),
    "backslashes": ("", "\\"),
    "escaped quotes in quotes": (ASKED + '"', '\\"'),
    "zero-width characters": ("", "\u200b"),
    "zero-width in words": ("", "d\u200be\u200dp\u2060"),
    "heaps of accents": ("", "a" + "\u0301\u0316" * 15),
    "ligatures": ("", "\ufb03"),
    "one letter that stands for eighteen": ("", "\ufdfa"),
}
"""What people read in the table: what the line begins with, and what is repeated after it."""


def text(shape: tuple[str, str], size: int) -> str:
    """So many bytes of it, cut at a whole character."""
    once, unit = shape
    per_char = len(unit.encode()) / len(unit)
    return once + "".join(islice(cycle(unit), int((size - len(once)) / per_char)))


def once_ms(line: str, catalog: Catalog, directory: Directory) -> float:
    began = time.perf_counter()
    with suppress(Mistake):
        parse(line, catalog, directory)
    return (time.perf_counter() - began) * 1000


def measure(rounds: int = ROUNDS) -> dict[str, dict[str, float]]:
    """By shape: milliseconds at both sizes, the best of interleaved rounds, and their ratio (10 is linear)."""
    catalog = load_catalog(ROOT / "commands")
    directory = load_directory(ROOT / "examples" / "acme" / "directory.yaml")
    lines = {name: (text(shape, SMALL), text(shape, LARGE)) for name, shape in SHAPES.items()}
    best = {name: [float("inf"), float("inf")] for name in SHAPES}
    for _ in range(rounds):
        for name, pair in lines.items():
            best[name] = [
                min(was, once_ms(line, catalog, directory)) for was, line in zip(best[name], pair, strict=True)
            ]
    return {
        name: {"ms_10_kb": round(small, 2), "ms_100_kb": round(large, 2), "ratio": round(large / small, 1)}
        for name, (small, large) in best.items()
    }


def table(found: dict[str, dict[str, float]]) -> list[str]:
    """Lines of Markdown; a figure over the limit says so."""
    lines = ["| hostile line | 10 KB ms | 100 KB ms | ratio |", "| --- | --- | --- | --- |"]
    for name, f in found.items():
        over = f" (over {LIMIT_MS:g})" if f["ms_100_kb"] > LIMIT_MS else ""
        lines.append(f"| {name} | {f['ms_10_kb']} | **{f['ms_100_kb']}**{over} | {f['ratio']} |")
    return [*lines, "", f"100 KB of anything is to be read in under {LIMIT_MS:g} ms; the API takes 4 KiB."]
