"""Every way to spoil one field of a document: take it away, make it null, give it another type.

Leaves lists their length: a list cannot show what it lacks, so the gateway has to build it whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

PERMISSIVE = {"deny": 0, "pending": 1, "allow": 2}
"""The effects, from closed to open."""

WHOLE = {"recent/rejected_s = None"}
"""Not spoiled but another true statement: null says that nothing was rejected."""

Path = tuple[str | int, ...]
_OF_EACH_TYPE: tuple[Any, ...] = (None, True, 7, -1, "", "x", [], [None], ["x"], {}, {"x": None})


def paths(value: Any, here: Path = ()) -> Iterator[Path]:
    """The path of every field and list element inside, whole sections included."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inside:
        yield (*here, key)
        yield from paths(child, (*here, key))


def spoiled(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each spoiled copy with a name that says what was done to it."""
    for path in paths(document):
        name = "/".join(map(str, path))
        if isinstance(path[-1], str):
            copy, parent = _copy(document, path)
            del parent[path[-1]]
            yield f"{name} removed", copy
        for value in _OF_EACH_TYPE:
            copy, parent = _copy(document, path)
            what = f"{name} = {value!r}"
            if _kind(parent[path[-1]]) != _kind(value) and what not in WHOLE:
                parent[path[-1]] = value
                yield what, copy


def _copy(document: dict[str, Any], path: Path) -> tuple[dict[str, Any], Any]:
    copy = deepcopy(document)
    parent: Any = copy
    for key in path[:-1]:
        parent = parent[key]
    return copy, parent


def _kind(value: Any) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
