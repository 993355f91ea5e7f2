"""Completion at the prompt: the next word, from the gateway's catalog, fast, silent and harmless."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsgate.cli import completion
from opsgate.contracts.commands import CommandView
from opsgate.contracts.decisions import Verdict
from tests.unit.cli_line import Type, keyboard
from tests.unit.stub_gateway import Reply, StubGateway, golden, problem, serve


@pytest.fixture(scope="module")
def stub() -> Iterator[StubGateway]:
    with serve() as running:
        yield running


@pytest.fixture
def gateway(stub: StubGateway) -> StubGateway:
    stub.forget()
    stub.when("GET", "/v1/commands", Reply({"items": [c.model_dump(mode="json") for c in catalog()], "next": None}))
    return stub


@pytest.fixture
def enter(gateway: StubGateway, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Type:
    # The limit ends the process, and here that is the test run: its own test starts a process for it.
    monkeypatch.setattr(completion, "LIMIT_S", 60.0)
    typed = keyboard(gateway, capsys, monkeypatch)
    monkeypatch.setenv("OPSGATE_TOKEN", "token")
    return typed


def catalog() -> list[CommandView]:
    """deploy, which may be run; migrate, which may not; one whose name would be run by a shell."""
    deploy: CommandView = golden("page_of_commands").items[0]
    environment, version = deploy.params
    service = environment.model_copy(update={"name": "service", "choices": ("api-service", "web-shop", "$(reboot)")})
    return [
        deploy.model_copy(update={"params": (environment, service, version)}),
        deploy.model_copy(update={"name": "migrate", "may": Verdict.DENY, "aliases": ()}),
        deploy.model_copy(update={"name": "status", "aliases": ()}),
        deploy.model_copy(update={"name": "`reboot`", "aliases": ()}),
    ]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (
            "''",
            "run ask approve reject withdraw cancel status history log help whoami commands audit completion version "
            "why login logout approvals reviews links unlink tokens delegate delegations undelegate",
        ),
        ("app", "approve approvals"),
        ("tokens ''", "list make revoke"),
        ("reviews c", "close"),
        ("approvals --view ''", ""),
        ("audit ''", "export verify"),
        ("completion z", "zsh"),
        ("run --f", "--follow"),
        ("history --s", "--state --service"),
        ("run ''", "deploy status"),
        ("why d", "deploy"),
        ("help d", "deploy"),
        ("run --as '' deploy ''", "staging production service= version= environment="),
        ("run deploy ''", "staging production environment= service= version="),
        ("run ship s", "staging service="),
        ("run deploy staging ''", "api-service web-shop service= version="),
        ("run deploy staging w", "web-shop"),
        ("run deploy service=w", "service=web-shop"),
        ("run deploy service = w", "service=web-shop"),
        ("run deploy service=", "service=api-service service=web-shop"),
        ("run deploy service=web-shop ''", "staging production environment= version="),
        ("run deploy staging web-shop 1.4.2 ''", ""),
        ("run --token other --follow de", "deploy"),
        ("run --reason ''", ""),
        ("run nothing ''", ""),
        ("deplyo ''", ""),
        ("approve ''", ""),
    ],
)
def test_the_next_word_is_offered(enter: Type, typed: str, offered: str) -> None:
    """Subcommands, their options, and inside run the catalog's commands and the values that exist."""
    found = enter(f"__complete {typed}")
    offers = {line.partition("\t")[0] for line in found.out.splitlines()}
    words = {word for word in offers if not (typed == "''" and word.startswith("--"))}
    assert (found.code, words, found.err) == (0, set(offered.split()), "")


@pytest.mark.parametrize(
    ("typed", "lines"),
    [
        ("run deploy prod", ["production\tneeds approval"]),
        ("run deploy environment=p", ["environment=production\tneeds approval"]),
        ("why m", ["migrate\tnot allowed"]),
        ("help m", ["migrate\tnot allowed"]),
        ("run m", []),
    ],
)
def test_what_needs_approval_or_is_not_allowed_is_marked(enter: Type, typed: str, lines: list[str]) -> None:
    """After a tab, where fish and zsh show it. What one may not run is offered only to ask about."""
    assert enter(f"__complete {typed}").out.splitlines() == lines


def test_nothing_is_asked_of_the_gateway_when_it_is_not_needed(gateway: StubGateway, enter: Type) -> None:
    """Subcommands are known without it."""
    enter("__complete audit ''")
    enter("__complete run --f")
    assert gateway.seen == []


def test_the_options_on_the_line_say_who_asks(gateway: StubGateway, enter: Type) -> None:
    """What may be run is offered to the one who would run it."""
    enter("__complete run --as alice ''")
    assert gateway.calls("/v1/commands")[0].headers["authorization"] == "Bearer token-of-alice"
    enter("__complete run --token=other ''")
    assert gateway.calls("/v1/commands")[1].headers["authorization"] == "Bearer other"


@pytest.mark.parametrize(
    "answer", [problem("unauthenticated", 401, "Expired."), Reply("<html>"), Reply("", 502), Reply("{}", broken=True)]
)
def test_trouble_is_never_shown_at_the_prompt(gateway: StubGateway, enter: Type, answer: Reply) -> None:
    """No candidates, no words, no exit code."""
    gateway.when("GET", "/v1/commands", answer)
    found = enter("__complete run ''")
    assert (found.code, found.out, found.err) == (0, "", "")


def test_a_gateway_that_does_not_answer_costs_a_second_at_most(gateway: StubGateway) -> None:
    """The prompt comes back."""
    gateway.when("GET", "/v1/commands", Reply({}, after_s=5))
    words = ["run", "--url", gateway.url, "--token", "t", ""]
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "opsgate", "__complete", *words], capture_output=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert time.monotonic() - begin < 4, "One second, and the start of Python on a busy machine."


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_script_calls_the_hidden_completer(enter: Type, shell: str) -> None:
    """And registers itself for `opsgate`."""
    script = enter(f"completion {shell}").out
    assert "opsgate __complete" in script or '"$1" __complete' in script
    assert "opsgate" in script.splitlines()[-1]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("opsgate appr", ["approve", "approvals"]),
        ("opsgate run deploy sta", ["staging"]),
        ("opsgate run deploy prod", ["production"]),
        ("opsgate run deploy staging ", ["api-service", "web-shop", "service=", "version="]),
        ("opsgate run deploy service=w", ["web-shop"]),
        ("opsgate run deploy service=", ["api-service", "web-shop"]),
    ],
)
def test_the_bash_script_completes_in_a_real_bash(
    gateway: StubGateway, enter: Type, tmp_path: Path, line: str, offered: list[str]
) -> None:
    """With bash's own splitting of `name=value` into three words."""
    program = tmp_path / "opsgate"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m opsgate "$@"\n')
    program.chmod(0o755)
    script = tmp_path / "completion.bash"
    script.write_text(enter("completion bash").out)
    words = [piece for word in line.split(" ") for piece in word.replace("=", " = ").split(" ") if piece or not word]
    press = f"""
        source {script}
        COMP_WORDS=({shlex.join(words)}) COMP_CWORD={len(words) - 1}
        COMP_LINE={shlex.quote(line)} COMP_POINT={len(line)}
        _opsgate opsgate
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", press],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(Path.cwd())},
    )
    assert (done.stdout.split(), done.stderr) == (offered, "")
