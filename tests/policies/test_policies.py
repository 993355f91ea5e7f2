"""The starter pack as its owners rely on it: formatted, strict, covered, pure, and closed when in doubt."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from opsgate.contracts.base import JsonObject
from opsgate.contracts.decisions import PolicyAnswer
from opsgate.contracts.policy import PolicyInput
from tests.policies import input_schema
from tests.policies.engine import POLICIES, ask_all, ask_batch, query, run
from tests.policies.inputs import HARDENED, OWNERS, SECURITY, question, vote
from tests.policies.spoil import PERMISSIVE, spoiled

IMPURE = {"http.send", "opa.runtime", "net.lookup_ip_addr", "rego.parse_module", "time.now_ns", "rand.intn", "trace"}
CONTRIBUTIONS = {"allow", "deny", "require", "obligations", "auto_approve"}
FREEZE = {"scope": "production", "reason": "year end", "by": "carol", "from_ns": 1, "until_ns": 0}
TOKEN = {"method": "api_token", "assurance": "verified", "mfa_at_ns": 0}
GATEWAY = {
    "id": "opsgate",
    "kind": "service",
    "groups": ["opsgate"],
    "auth": {"method": "gateway", "assurance": "verified", "mfa_at_ns": 0, "scopes": []},
}
NOWHERE: JsonObject = {"service": "", "env": "", "team": "", "owners": [], "labels": {}}
BOTH_SIGNED_IN = [vote("bob", OWNERS, assurance="oidc"), vote("carol", SECURITY, assurance="oidc_mfa")]
MIGRATE = {"name": "migrate", "effect": "destroy"}
ON_CALL = {"id": "olga", "groups": ["members", "oncall:api-service"]}
EMERGENCY = {"break_glass": {"requested": True, "reason": "checkout is down for everybody", "incident": "INC-42"}}

QUESTIONS: dict[str, tuple[str, JsonObject]] = {
    "a read": ("allow", question(action={"name": "status", "effect": "read"})),
    "a write in staging": ("allow", question(resource={"env": "staging"})),
    "a write in production": ("pending", question()),
    "a write with the owner's yes": ("allow", question(approvals=[vote("bob", OWNERS)])),
    "a write with the asker's own yes": ("pending", question(approvals=[vote("slack:T1:U1", OWNERS)])),
    "a write with a no": (
        "deny",
        question(approvals=[vote("bob", OWNERS), vote("carol", SECURITY, decision="reject")]),
    ),
    "a destroy with both": ("allow", question(action=MIGRATE, approvals=BOTH_SIGNED_IN)),
    "a destroy with two clicks": (
        "pending",
        question(action=MIGRATE, approvals=[vote("bob", OWNERS), vote("carol", SECURITY)]),
    ),
    "a write with a delegate's yes": ("allow", question(approvals=[vote("frank", OWNERS, on_behalf_of="bob")])),
    "a service account's write with its owner's yes": (
        "pending",
        question(subject={"id": "robot", "kind": "service", "owner": "bob"}, approvals=[vote("bob", OWNERS)]),
    ),
    "a token's write": ("deny", question(subject={"auth": {**TOKEN, "scopes": ["read"]}})),
    "one write too many": ("deny", question(recent={"pending_by_subject": 10})),
    "a write that was just rejected": ("deny", question(recent={"rejected_s": 1})),
    "a second broken glass": ("deny", question(subject=ON_CALL, request=EMERGENCY, recent={"open_reviews": 1})),
    "a page": ("allow", question(subject=GATEWAY, action={"name": "page"}, resource=NOWHERE, freezes=[FREEZE])),
    "a page by somebody else": ("deny", question(subject={**GATEWAY, "id": "mallory"}, action={"name": "page"})),
    "a frozen write": ("deny", question(freezes=[FREEZE], approvals=[vote("bob", OWNERS)])),
    "a broken glass in a freeze": ("allow", question(subject=ON_CALL, request=EMERGENCY, freezes=[FREEZE])),
    "an unfreeze": (
        "allow",
        question(subject={"groups": list(SECURITY)}, action={"name": "unfreeze"}, freezes=[FREEZE]),
    ),
    "a guest's write": ("deny", question(subject={"id": "dave", "groups": []})),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the policies that a test may damage."""
    copy = tmp_path_factory.mktemp("policies") / "served"
    shutil.copytree(POLICIES, copy)
    return copy


def rego(pattern: str = "**/*.rego") -> list[Path]:
    return sorted(file for file in POLICIES.glob(pattern) if not file.name.endswith("_test.rego"))


def test_every_file_is_formatted(opa: Path) -> None:
    """`opa fmt` has nothing to change."""
    run(opa, "fmt", "--fail", "--list", POLICIES)


def test_every_file_passes_the_strict_check(opa: Path) -> None:
    """No unused import or variable, no deprecated function, no rule that contradicts itself."""
    run(opa, "check", "--strict", "--bundle", POLICIES)


def test_every_rule_is_tested(opa: Path) -> None:
    """The Rego tests pass and cover at least 95 of 100 lines."""
    run(opa, "test", "--bundle", POLICIES)
    run(opa, "test", "--coverage", "--threshold", "95", "--bundle", POLICIES)


def test_a_bundle_can_be_built_and_carries_no_tests(opa: Path, tmp_path: Path) -> None:
    """What production serves: the rules and data.json, nothing else."""
    bundle = tmp_path / "bundle.tar.gz"
    run(opa, "build", "--bundle", POLICIES, "--ignore", "*_test.rego", "--revision", "r1", "--output", bundle)
    inside = json.loads(run(opa, "inspect", bundle, "--format", "json"))
    assert inside["manifest"]["revision"] == "r1"
    assert not [name for name in inside["namespaces"] if "test" in name]
    assert set(query(opa, "data")) == {"gateway", *json.loads((POLICIES / "data.json").read_text())}


def test_the_published_input_schema_is_that_of_the_contract() -> None:
    """A stale schema would let a policy read a field that no longer exists."""
    assert input_schema.FILE.read_text(encoding="utf-8") == input_schema.text(), (
        "run: python -m tests.policies.input_schema"
    )


def test_policies_read_only_fields_that_the_input_has(opa: Path) -> None:
    """OPA type-checks every rule against the schema: a misspelt field is an error, not a rule that never fires."""
    run(opa, "check", "--strict", "--schema", input_schema.FILE, "--bundle", POLICIES)


def test_a_misspelt_field_is_found(opa: Path, served: Path) -> None:
    """The check above really looks."""
    (served / "extra.rego").write_text("package extra\n\nx if input.subject.kindd\n")
    with pytest.raises(AssertionError, match="kindd"):
        run(opa, "check", "--schema", input_schema.FILE, "--bundle", served)
    (served / "extra.rego").unlink()


def test_policies_are_pure(opa: Path, tmp_path: Path) -> None:
    """No clock, no network, no environment, no chance: the same question has the same answer, also when replayed."""
    known = json.loads(run(opa, "capabilities", "--current"))
    assert {builtin["name"] for builtin in known["builtins"]} >= IMPURE
    known["builtins"] = [builtin for builtin in known["builtins"] if builtin["name"] not in IMPURE]
    pure = tmp_path / "capabilities.json"
    pure.write_text(json.dumps(known))
    run(opa, "check", "--strict", "--capabilities", pure, "--bundle", POLICIES)


def test_nobody_stores_people_as_data() -> None:
    """Who is in a group, only the identity source knows: data.json holds groups, environments and numbers."""
    data = json.loads((POLICIES / "data.json").read_text())
    assert set(data) == set(HARDENED)


@pytest.mark.parametrize("file", rego("teams/*.rego"), ids=lambda file: file.stem)
def test_a_team_file_speaks_for_its_team_and_only_adds(opa: Path, file: Path) -> None:
    """It declares its own package, and allow, deny, require and obligations as sets (`contains`)."""
    parsed = json.loads(run(opa, "parse", "--format", "json", file))
    assert [part["value"] for part in parsed["package"]["path"]] == ["data", "gateway", "teams", file.stem]
    for rule in parsed["rules"]:
        if rule["head"]["name"] in CONTRIBUTIONS:
            assert "key" in rule["head"], f"write `{rule['head']['name']} contains ...`, or nobody hears it"


def test_every_reason_code_is_in_the_guide(opa: Path) -> None:
    """The list of codes in the guide is closed: nothing missing, nothing left over."""
    used = {code for file in rego() for code in re.findall(r'"code": "([a-z_]+)"', file.read_text())}
    used |= set(query(opa, "data.gateway.votes.why"))
    guide = (POLICIES / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z_]+)` \|", guide, re.MULTILINE)) == used


def test_every_answer_fits_the_contract_and_says_why(opa: Path) -> None:
    """Each effect as expected, in the shape of `gateway.decision/v1`, about the hash that was asked, with a reason."""
    answers = ask_all(opa, {name: asked for name, (_, asked) in QUESTIONS.items()})
    for name, (effect, asked) in QUESTIONS.items():
        answer = PolicyAnswer.model_validate(answers[name])
        assert answer.effect.value == effect, f"{name}: {answer}"
        assert answer.request_hash == asked["request"]["hash"]
        assert answer.reasons, name
        assert bool(answer.unmet) == (effect == "pending"), name


def test_guests_learn_the_rule_what_is_needed_and_whom_to_ask(opa: Path) -> None:
    """The sentence Dave reads, word for word."""
    answer = ask_all(opa, {"dave": QUESTIONS["a guest's write"][1]})["dave"]
    assert answer["reasons"] == [
        {
            "code": "not_a_member",
            "msg": "You have no role here: `deploy` needs the role developer in team:payments. "
            "Ask the owners of api-service (owners:api-service).",
        }
    ]


def test_a_batch_answers_each_question_in_its_order_as_if_asked_alone(opa: Path) -> None:
    """200 questions, each with a hash of its own: what help and completion get is what submitting would get."""
    asked = [
        {**case, "request": {**case["request"], "hash": f"sha256:{number:064x}"}}
        for number in range(10)
        for _, case in QUESTIONS.values()
    ][:200]
    answers = ask_batch(opa, asked)
    alone = ask_all(opa, {str(number): case for number, case in enumerate(asked)})
    assert answers == [alone[str(number)] for number in range(len(asked))]
    assert [a["request_hash"] for a in answers] == [case["request"]["hash"] for case in asked]


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.slow
def test_a_spoiled_field_never_makes_the_answer_more_permissive(opa: Path, name: str) -> None:
    """Remove, null or mistype any field: never more permissive, and a plain no when the contract would refuse it."""
    effect, asked = QUESTIONS[name]
    cases = dict(spoiled(asked))
    answers = ask_all(opa, cases)
    assert len(cases) > 500
    assert answers.keys() == cases.keys()
    for case, answer in answers.items():
        assert PERMISSIVE[answer["effect"]] <= PERMISSIVE[effect], f"{name}, {case}: {answer}"
        if not _is_input(cases[case]):
            codes = {reason["code"] for reason in answer["reasons"]}
            assert (answer["effect"], codes) == ("deny", {"bad_input"}), f"{name}, {case}: {answer}"


def _is_input(document: JsonObject) -> bool:
    try:
        PolicyInput.model_validate_json(json.dumps(document), strict=True)
    except ValidationError:
        return False
    return True


def test_a_spoiled_question_is_a_no_and_not_an_engine_error(opa: Path) -> None:
    """With strict builtin errors, as the gateway asks, one broken question in a batch must not fail the others."""
    cases = dict(spoiled(QUESTIONS["a destroy with both"][1]))
    answers = ask_all(opa, cases, POLICIES, "--strict-builtin-errors")
    assert answers.keys() == cases.keys()


@pytest.mark.slow
def test_spoiled_data_never_makes_an_answer_more_permissive(opa: Path, served: Path) -> None:
    """Remove, null or mistype anything in data.json: what was refused or waiting stays so."""
    data = json.loads((POLICIES / "data.json").read_text())
    asked = {name: case for name, (_, case) in QUESTIONS.items()}
    too_many = question(blast={"targets": 1000}, approvals=[vote("bob", OWNERS)])
    for what, broken in spoiled(data):
        (served / "data.json").write_text(json.dumps(broken))
        answers = ask_all(opa, {**asked, "too many targets": too_many}, served)
        assert answers["too many targets"]["effect"] == "deny", what
        for name, (effect, _) in QUESTIONS.items():
            assert PERMISSIVE[answers[name]["effect"]] <= PERMISSIVE[effect], f"{name}, data {what}"
    shutil.copy(POLICIES / "data.json", served)
