"""Runs the OPA binary over `policies/` for the tests, many questions in one process.

Refuses to hide what OPA says: a failing command fails the test with OPA's own words.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from opsgate.contracts.base import JsonObject

POLICIES = Path(__file__).parents[2] / "policies"
_ANSWER = "data.gateway.decision.result with input as asked"
_ASK_ALL = f"answers := {{key: answer | some key, asked in input; answer := {_ANSWER}}}"


def run(opa: Path, *arguments: str | Path, folder: Path = POLICIES.parent, stdin: str = "") -> str:
    """What this OPA command prints on stdout."""
    done = subprocess.run([opa, *arguments], cwd=folder, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"opa {' '.join(map(str, arguments))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def query(opa: Path, text: str, asked: Any = None, policies: Path = POLICIES, *options: str) -> Any:
    """The value of one Rego query over `policies` with `asked` as its input."""
    arguments: tuple[str | Path, ...] = (
        "eval",
        "--bundle",
        policies,
        "--ignore",
        "*_test.rego",
        "--stdin-input",
        "--format",
        "json",
        *options,
    )
    result = json.loads(run(opa, *arguments, text, stdin=json.dumps(asked)))["result"][0]
    return next(iter(result["bindings"].values())) if "bindings" in result else result["expressions"][0]["value"]


def ask_batch(opa: Path, questions: Sequence[Any]) -> list[JsonObject]:
    """The answers as the gateway gets them for help: all at once, in the order asked."""
    answers: list[JsonObject] = query(opa, "data.gateway.batch.results", {"inputs": questions})
    return answers


def ask_all(opa: Path, questions: Mapping[str, Any], policies: Path = POLICIES, *options: str) -> dict[str, JsonObject]:
    """The policy's answer to each question, by its key. A key that is missing had no answer."""
    answers: dict[str, JsonObject] = query(opa, _ASK_ALL, questions, policies, *options)
    return answers
