"""`python -m tests.contracts.regenerate`: writes the schema snapshots anew, after a change of shape that was meant.

Golden files are never written by it: they are what others send, and are changed by hand.
"""

from __future__ import annotations

from tests.contracts.shapes import SCHEMAS, SHAPES, as_file, schema


def main() -> None:
    SCHEMAS.mkdir(exist_ok=True)
    for stale in set(SCHEMAS.glob("*.json")) - {SCHEMAS / f"{name}.json" for name in SHAPES}:
        stale.unlink()
    for name in SHAPES:
        (SCHEMAS / f"{name}.json").write_text(as_file(schema(name)), encoding="utf-8")
    print(f"{len(SHAPES)} schema snapshots are written to {SCHEMAS}. Look at their diff before you commit it.")


if __name__ == "__main__":
    main()
