"""The JSON Schema of the policy's input, from the contract. `python -m tests.policies.input_schema` writes it anew.

OPA checks the policies against this file, so a misspelt field is an error and not a rule that never fires.
"""

from __future__ import annotations

import json
from pathlib import Path

from opsgate.contracts.policy import PolicyInput

FILE = Path(__file__).parents[2] / "docs" / "reference" / "schemas" / "gateway.input.v1.json"


def text() -> str:
    """The schema as the file must hold it."""
    schema = PolicyInput.model_json_schema(mode="serialization", by_alias=True)
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(text(), encoding="utf-8")
