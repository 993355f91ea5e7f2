"""The documents are true: every command they show is run here in a running house, or listed with what covers it.

A new block, or a new command in a sentence, fails until it is one of the two.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gateway.domain.arguments import parse
from gateway.infra.files import load_catalog, load_directory
from opsgate.contracts.invocations import State
from tests.rig.stages import EmbeddedStage
from tests.stories.room import Room

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
COMMANDS = ROOT / "docs" / "reference" / "commands.md"
DOCUMENTS = [README, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", ROOT / "policies" / "README.md"]
DOCUMENTS += sorted((ROOT / "docs").rglob("*.md"))
PROGRAMS = ("make", "python", "python3", "opsgate", "curl", "docker", "opa", "openssl", "lint-imports")
NO_SHELL = {"mermaid", "json", "rego", "yaml", "python"}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.S | re.M)


class Expected(NamedTuple):
    """How a line of the README ends: its exit code, and words of its output."""

    code: int
    says: str


TERMINAL = {
    'opsgate run "deploy staging api-service" --as alice --follow': Expected(0, "is live in staging. Asked by Alice."),
    'opsgate why "deploy production api-service" --as dave': Expected(3, "would be denied\n  Dave may not do this."),
    "opsgate history --as alice": Expected(0, "deploy staging api-service"),
    "opsgate audit verify --as carol": Expected(0, "gateway"),
}
REST = "TOKEN=$(curl "
"""How the block begins that is run as a whole."""
POLICY_CHECKS = ("opa fmt", "opa check", "opa test", "opa eval", "opa eval", "opa bench")

EMBEDDED, STAGES = "tests/unit/test_dev_embedded.py", "tests/rig/stages.py"
COVERED = {
    "make dev": f"{EMBEDDED}::test_it_says_once_that_it_is_ready_and_ctrl_c_stops_every_child",
    "make dev OIDC=1": "tests/unit/test_readme.py::test_make_knows_every_target_that_is_shown",
    "opsgate login": "tests/integration/test_device_flow.py::test_opsgate_login_signs_in_by_the_browser",
    "opsgate login --device": "tests/integration/test_device_flow.py::test_opsgate_login_device_waits_for_the_code",
    "make demo": f"{EMBEDDED}::test_the_demo_plays_to_its_end",
    # These run this very test, so they are only looked at, not run.
    "make test": "tests/unit/test_readme.py::test_make_knows_every_target_that_is_shown",
    "make test-quick": "tests/unit/test_readme.py::test_make_knows_every_target_that_is_shown",
    "make check": "tests/unit/test_readme.py::test_make_knows_every_target_that_is_shown",
    "make help": "tests/unit/test_readme.py::test_make_knows_every_target_that_is_shown",
    "lint-imports": "tests/unit/test_readme.py::test_make_knows_every_target_that_is_shown",
    "make bench": "tests/unit/test_bench.py::test_the_figures_kept_are_the_figures_shown",
    "python -m bench --only hostile": "tests/unit/test_bench.py::test_one_section_runs_by_itself_and_a_quick_look",
    "python -m docs.generate": "tests/unit/test_generated_docs.py::test_a_generated_reference_is_not_stale",
    "python -m pytest tests/policies": "tests/policies/test_policies.py::test_",
    "python -m gateway migrate": f"{STAGES}::_migrate",
    "python -m adapters.slack": "tests/unit/test_slack_settings.py::test_all_problems_are_told_at_once",
    'opsgate why "canary api-service" --as alice': "tests/unit/test_contributing.py::test_the_steps_of_contributing",
    "opsgate completion bash": "tests/unit/test_cli_completion.py::test_the_bash_script_completes_in_a_real_bash",
    "openssl rand -hex 32": "tests/unit/test_readme.py::test_a_token_is_made_as_shown",
}
"""What is not run here: commands that start long-living things or change files, and the test that covers each."""


def blocks(document: Path) -> list[str]:
    """The fenced blocks that people paste into a shell."""
    return [text for language, text in FENCE.findall(document.read_text()) if language not in NO_SHELL]


def lines(block: str) -> list[str]:
    """The commands of a block: continued lines joined, comments left out."""
    joined = block.replace("\\\n", " ")
    return [" ".join(line.split("  #")[0].split()) for line in joined.splitlines() if line.strip()]


def in_sentences(document: Path) -> list[str]:
    """The commands that stand between single backquotes."""
    text = FENCE.sub("", document.read_text())
    found = (" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text))
    return [code for code in found if code.split()[:1] and code.split()[0] in PROGRAMS and code != "opsgate"]


def chat_lines(text: str) -> list[str]:
    return [found for found in re.findall(r"`/ops ([^`]+)`", text) if found]


def shell(script: str, home: Path, url: str = "") -> subprocess.CompletedProcess[str]:
    """In a shell with `.venv` on PATH, `opsgate` as set-up installs it, and nothing of this environment."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["opsgate"].partition(":")
    program = home / "opsgate"
    program.write_text(f"#!{sys.executable}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n")
    program.chmod(0o755)
    path = os.pathsep.join([str(home), str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT,
        env={"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(home), "OPSGATE_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def json_documents(text: str) -> list[dict[str, Any]]:
    found, rest = [], text.strip()
    while rest:
        document, end = json.JSONDecoder().raw_decode(rest)
        found.append(document)
        rest = rest[end:].strip()
    return found


def the_block(beginning: str) -> str:
    (found,) = [block for block in blocks(README) if block.startswith(beginning)]
    return found


@pytest.mark.slow
def test_the_terminal_lines_of_the_readme_work_as_they_stand(embedded: EmbeddedStage, tmp_path: Path) -> None:
    """In their order, with the exit codes the sentence below them tells."""
    shown = lines(the_block("opsgate run"))
    assert shown == list(TERMINAL)
    for line in shown:
        done = shell(line, tmp_path, embedded.url)
        assert done.returncode == TERMINAL[line].code, (line, done.stdout, done.stderr)
        assert TERMINAL[line].says in done.stdout, (line, done.stdout)


@pytest.mark.slow
def test_the_curl_lines_of_the_readme_work_as_they_stand(embedded: EmbeddedStage, tmp_path: Path) -> None:
    """A token, a command that is taken, and a what-if that says who must approve."""
    script = the_block(REST)
    assert script.count("http://127.0.0.1:8420/") == script.count("curl ") == 3
    done = shell(script.replace("http://127.0.0.1:8420", embedded.url), tmp_path)
    assert done.returncode == 0, done.stderr
    submitted, asked = json_documents(done.stdout)
    assert submitted["state"] in ("queued", "running"), submitted
    assert submitted["text"].startswith("deploy staging api-service"), submitted
    assert asked["decision"]["effect"] == "pending", asked
    with Room(embedded) as room:
        room.until("alice", submitted["id"], State.SUCCEEDED)


@pytest.mark.slow
def test_the_first_five_minutes_go_as_told(embedded: EmbeddedStage) -> None:
    """Every line of the story is understood; only the typo is a mistake, and the guest alone is refused."""
    story = README.read_text().split("## The first five minutes")[1].split("### ")[0]
    with Room(embedded) as room:
        kinds = {}
        for line in dict.fromkeys(chat_lines(story)):
            answer = room.say("alice", line)
            kinds[line] = answer.kind
            if answer.invocation and answer.invocation.state is State.PENDING:
                assert room.say("dave", line).invocation.state is State.DENIED  # type: ignore[union-attr]
                room.say("alice", f"cancel {answer.invocation.id}")
            elif answer.invocation:
                room.until("alice", answer.invocation.id, State.SUCCEEDED)
    mistakes = [line for line, kind in kinds.items() if kind == "mistake"]
    assert mistakes == ["deplyo"]
    assert len(kinds) >= 7


@pytest.mark.parametrize("line", [line for block in blocks(COMMANDS) for line in lines(block)])
def test_every_example_of_the_command_reference_is_understood(line: str) -> None:
    """By the grammar, with the practice company's people and services."""
    parse(line, load_catalog(ROOT / "commands"), load_directory(ROOT / "examples" / "acme" / "directory.yaml"))


def test_the_policy_checks_of_the_guide_pass(opa: Path, tmp_path: Path) -> None:
    """As its owners run them before they share a rule."""
    (tmp_path / "opa").symlink_to(opa)
    shown = [line for b in blocks(ROOT / "policies" / "README.md") for line in lines(b) if line.startswith("opa ")]
    assert tuple(" ".join(line.split()[:2]) for line in shown) == POLICY_CHECKS
    for line in shown:
        done = shell(line.replace("question.json", str(tmp_path / "question.json")), tmp_path)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        assert done.stdout == "" or not line.startswith("opa fmt"), done.stdout


def test_a_token_is_made_as_shown(tmp_path: Path) -> None:
    """The line of the Slack guide gives 32 random bytes in hex."""
    assert re.fullmatch(r"[0-9a-f]{64}\n", shell("openssl rand -hex 32", tmp_path).stdout)


def test_make_knows_every_target_that_is_shown(tmp_path: Path) -> None:
    """`make -n` finds it and everything it stands on; what CI runs is `make test`."""
    shown = {c.split()[1] for d in DOCUMENTS for c in commands(d) if c.startswith("make ")}
    assert {"dev", "demo", "test", "test-quick", "check", "bench"} <= shown
    for target in sorted(shown):
        done = shell(f"make -n {target}", tmp_path)
        assert done.returncode == 0, (target, done.stderr)
    assert "lint-imports" in shell("make -n check", tmp_path).stdout
    assert "make test\n" in (ROOT / ".ci" / "run").read_text()


def commands(document: Path) -> list[str]:
    fenced = [] if document == COMMANDS else [line for block in blocks(document) for line in lines(block)]
    return fenced + in_sentences(document)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_shown_is_run_or_listed(document: Path) -> None:
    """A command that nobody tries is a promise that nobody keeps."""
    if document.name == "CONTRIBUTING.md":  # its blocks are run by test_contributing, as they stand
        shown = in_sentences(document)
    else:
        rest = [line for block in blocks(document) if not block.startswith(REST) for line in lines(block)]
        shown = in_sentences(document) + (rest if document != COMMANDS else [])
    tried = {*COVERED, *TERMINAL}
    untried = [line for line in shown if line not in tried and not line.startswith(POLICY_CHECKS)]
    assert untried == [], f"Run these in {Path(__file__).name}, or name the test that covers them in COVERED"


@pytest.mark.parametrize("command", COVERED)
def test_what_covers_a_command_exists(command: str) -> None:
    """And the list holds nothing that no document shows any more."""
    file, name = COVERED[command].split("::")
    assert f"def {name}" in (ROOT / file).read_text()
    assert any(command in commands(document) for document in DOCUMENTS), f"no document shows `{command}`"


def test_every_picture_and_link_leads_somewhere() -> None:
    """Addresses inside the repository only."""
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#\s]+)", FENCE.sub("", document.read_text())):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.relative_to(ROOT)} links to {target}"
