"""The same pack with windows, tickets, limits and auto-approval in use: closed when in doubt there too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from opsgate.contracts.base import JsonObject
from opsgate.contracts.decisions import PolicyAnswer
from tests.policies.engine import POLICIES, ask_all
from tests.policies.inputs import HARDENED, OWNERS, SECURITY, question, vote
from tests.policies.spoil import PERMISSIVE, spoiled

SHOP = {"service": "web-shop", "team": "team:web", "owners": ["owners:web-shop"]}
WEB = {"groups": ["members", "developers", "team:web"]}
SATURDAY = {"local": {"Europe/London": {"date": "2025-11-29", "weekday": "sat", "minute_of_day": 780}}}
ELSEWHERE = {"local": {"UTC": {"date": "2025-11-24", "weekday": "mon", "minute_of_day": 780}}}

QUESTIONS: dict[str, tuple[str, JsonObject]] = {
    "inside the window with a ticket and a yes": ("allow", question(approvals=[vote("bob", OWNERS)])),
    "on a Saturday": ("deny", question(now=SATURDAY)),
    "in an unknown zone": ("deny", question(now=ELSEWHERE)),
    "in a deny window": ("deny", question(resource={"service": "ledger", "env": "staging"})),
    "without a ticket": ("deny", question(ticket=None)),
    "with an open ticket": ("deny", question(ticket={"state": "open"})),
    "with an invented ticket": ("deny", question(ticket={"verified": False, "verified_at_ns": 0, "state": ""})),
    "a small step": (
        "allow",
        question(subject=WEB, resource=SHOP, action={"name": "scale", "args": {"replicas": 5}}),
    ),
    "a larger step": (
        "pending",
        question(subject=WEB, resource=SHOP, action={"name": "scale", "args": {"replicas": 6}}),
    ),
    "a destroy without a second factor": (
        "pending",
        question(
            action={"name": "migrate", "effect": "destroy"},
            approvals=[vote("bob", OWNERS, assurance="oidc"), vote("carol", SECURITY, assurance="oidc_mfa")],
        ),
    ),
    "too many waiting": ("deny", question(recent={"pending_by_subject": 3})),
    "rejected ten minutes ago": ("deny", question(recent={"rejected_s": 599})),
    "a read on a Saturday": ("allow", question(action={"name": "status", "effect": "read"}, now=SATURDAY, ticket=None)),
}


@pytest.fixture(scope="module")
def hardened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pack with HARDENED as its data.json."""
    copy = tmp_path_factory.mktemp("policies") / "hardened"
    shutil.copytree(POLICIES, copy)
    (copy / "data.json").write_text(json.dumps(HARDENED))
    return copy


def test_every_answer_is_the_expected_one_and_fits_the_contract(opa: Path, hardened: Path) -> None:
    """Each question above has the effect beside it."""
    answers = ask_all(opa, {name: asked for name, (_, asked) in QUESTIONS.items()}, hardened)
    for name, (effect, _) in QUESTIONS.items():
        assert PolicyAnswer.model_validate(answers[name]).effect.value == effect, f"{name}: {answers[name]}"


def test_a18_the_rule_that_approved_is_in_the_answer(opa: Path, hardened: Path) -> None:
    """`policy:RULE` is recorded as who approved; only where security listed the command and the rule fits."""
    answers = ask_all(opa, {name: asked for name, (_, asked) in QUESTIONS.items()}, hardened)
    assert answers["a small step"]["auto"] == [{"rule": "web_small_scale", "requirement": "owner"}]
    assert [name for name in QUESTIONS if answers[name]["auto"]] == ["a small step"]


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_spoiled_field_never_makes_the_answer_more_permissive(opa: Path, hardened: Path, name: str) -> None:
    """As in the starter pack: remove, null or mistype any field of the question."""
    effect, asked = QUESTIONS[name]
    cases = dict(spoiled(asked))
    answers = ask_all(opa, cases, hardened, "--strict-builtin-errors")
    assert answers.keys() == cases.keys()
    for case, answer in answers.items():
        assert PERMISSIVE[answer["effect"]] <= PERMISSIVE[effect], f"{name}, {case}: {answer}"


@pytest.mark.slow
def test_spoiled_data_never_makes_an_answer_more_permissive(opa: Path, hardened: Path) -> None:
    """Remove, null or mistype anything in HARDENED, a single word of a window included: what is lost closes."""
    asked = {name: case for name, (_, case) in QUESTIONS.items()}
    try:
        for what, broken in spoiled(HARDENED):
            (hardened / "data.json").write_text(json.dumps(broken))
            answers = ask_all(opa, asked, hardened, "--strict-builtin-errors")
            for name, (effect, _) in QUESTIONS.items():
                assert PERMISSIVE[answers[name]["effect"]] <= PERMISSIVE[effect], f"{name}, data {what}"
    finally:
        (hardened / "data.json").write_text(json.dumps(HARDENED))
