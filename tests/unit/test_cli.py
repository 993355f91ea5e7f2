"""The `opsgate` command line: a line in, words for people or scripts out, and an exit code that tells the outcome."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opsgate import __version__
from opsgate import client as client_module
from opsgate.contracts.decisions import Verdict
from opsgate.contracts.invocations import State
from tests.unit.cli_line import Type, keyboard
from tests.unit.stub_gateway import Reply, StubGateway, golden, problem, serve, view

HASH = "sha256:" + "a" * 64


@pytest.fixture(scope="module")
def stub() -> Iterator[StubGateway]:
    with serve() as running:
        yield running


@pytest.fixture
def gateway(stub: StubGateway, monkeypatch: pytest.MonkeyPatch) -> StubGateway:
    monkeypatch.setattr(client_module, "RETRY_WAIT_S", 0.01)
    stub.forget()
    return stub


@pytest.fixture
def enter(gateway: StubGateway, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Type:
    return keyboard(gateway, capsys, monkeypatch)


def opsgate(*words: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The program as a process of its own."""
    line = [sys.executable, "-m", "opsgate", *words]
    return subprocess.run(line, capture_output=True, timeout=20, env={**os.environ, **environment}, check=False)


# Running and asking


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (State.SUCCEEDED, 0),
        (State.QUEUED, 0),
        (State.RUNNING, 0),
        (State.FAILED, 1),
        (State.UNKNOWN, 1),
        (State.DENIED, 3),
        (State.PENDING, 4),
        (State.CANCELLED, 5),
        (State.EXPIRED, 5),
    ],
)
def test_run_shows_the_card_and_exits_with_the_outcome(
    gateway: StubGateway, enter: Type, state: State, code: int
) -> None:
    """Every state has its code; scripts switch on it."""
    gateway.when("POST", "/v1/invocations", Reply(view(state, title="deploy staging api-service")))
    typed = enter('run "deploy staging api-service" --as alice --reason "it is time"')
    assert (typed.code, typed.err) == (code, "")
    assert "deploy staging api-service" in typed.out
    (sent,) = gateway.calls("/v1/invocations")
    assert (sent.body["text"], sent.body["reason"]) == ("deploy staging api-service", "it is time")
    assert sent.headers["authorization"] == "Bearer token-of-alice"


def test_every_state_has_an_exit_code() -> None:
    """A new state must be given one."""
    from opsgate.cli import exits

    assert set(exits.OF_STATE) == {state.value for state in State}


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("deploy staging api-service", "deploy staging api-service"),
        ("deploy staging api-service version=1.4.2", "deploy staging api-service version=1.4.2"),
        ("-- deploy staging api-service --version 1.4.2", "deploy staging api-service --version 1.4.2"),
        ("deploy staging 'api service'", 'deploy staging "api service"'),
        ("deploy staging reason='it is \"time\"'", 'deploy staging reason="it is \\"time\\""'),
        ("deploy ''", 'deploy ""'),
        ("'deploy \"as it is\"'", 'deploy "as it is"'),
    ],
)
def test_a_line_may_be_typed_as_words(gateway: StubGateway, enter: Type, typed: str, sent: str) -> None:
    """The shell takes quotes away; what was one word stays one word."""
    gateway.when("POST", "/v1/invocations", Reply(view()))
    assert enter(f"run --as alice {typed}").code == 0
    assert gateway.calls("/v1/invocations")[0].body["text"] == sent


def test_run_with_json_prints_one_document_in_plain_ascii(gateway: StubGateway, enter: Type) -> None:
    """It is the contract, and nothing in it can move a cursor."""
    shown = view(State.PENDING, title="\u202e\x9b2J ü")
    gateway.when("POST", "/v1/invocations", Reply(shown))
    typed = enter('run "deploy staging api-service" --as alice --json')
    assert typed.json == shown.model_dump(mode="json")
    assert typed.out.isascii()
    assert typed.out.count("\n") == 1


@pytest.mark.parametrize(("effect", "code"), [("allow", 0), ("pending", 4), ("deny", 3)])
@pytest.mark.parametrize("word", ["ask", "why"])
def test_ask_explains_and_runs_nothing(gateway: StubGateway, enter: Type, word: str, effect: str, code: int) -> None:
    """The reasons, the rule and what is missing."""
    answer = golden("what_if")
    answer = answer.model_copy(update={"decision": answer.decision.model_copy(update={"effect": Verdict(effect)})})
    gateway.when("POST", "/v1/decisions", Reply(answer))
    typed = enter(f"{word} deploy production api-service --for dave --as alice")
    assert typed.code == code
    assert answer.explanation in typed.out
    assert "Bob of owners:api-service agreed." in typed.out
    assert gateway.calls("/v1/decisions")[0].body == {"text": "deploy production api-service", "as_person": "dave"}
    assert gateway.calls("/v1/invocations") == []


# Voting, cancelling, looking


@pytest.mark.parametrize(
    "line", ["approve inv_01 --yes", "approve inv_01 aaaaaaaa", "reject inv_01", "withdraw inv_01"]
)
def test_a_vote_carries_the_hash_of_what_stands_there(gateway: StubGateway, enter: Type, line: str) -> None:
    """So that nobody approves something else than what was asked."""
    gateway.when("GET", "/v1/invocations/inv_01", Reply(view(State.PENDING)))
    gateway.when("POST", "/v1/invocations/inv_01/votes", Reply(golden("answer")))
    assert enter(f"{line} --reason 'seen' --as alice").code == 0
    (vote,) = gateway.calls("/v1/invocations/inv_01/votes")
    said = {"verdict": line.split()[0], "binding_hash": HASH, "reason": "seen"}
    assert vote.body == {**said, "on_behalf_of": None, "evidence": None}


@pytest.mark.parametrize(("typed", "sent"), [("y\n", 1), ("YES\n", 1), ("n\n", 0), ("\n", 0), ("", 0)])
def test_approve_shows_the_card_and_asks(
    gateway: StubGateway, enter: Type, monkeypatch: pytest.MonkeyPatch, typed: str, sent: int
) -> None:
    """What is agreed to is what stands on the screen; only a clear yes is one."""
    keys = io.StringIO(typed)
    monkeypatch.setattr(keys, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stdin", keys)
    gateway.when("GET", "/v1/invocations/inv_01", Reply(view(State.PENDING, title="deploy production api-service")))
    gateway.when("POST", "/v1/invocations/inv_01/votes", Reply(golden("answer")))
    told = enter("approve inv_01 --as alice")
    assert told.out.startswith("» deploy production api-service")
    assert told.err == "Approve exactly this? [y/N] "
    assert len(gateway.calls("/v1/invocations/inv_01/votes")) == sent
    assert told.code == (0 if sent else 5)


@pytest.mark.parametrize("option", ["", "--json"])
def test_approve_sends_nothing_where_nobody_can_be_asked(gateway: StubGateway, enter: Type, option: str) -> None:
    """A script says --yes; a pipe is no consent."""
    gateway.when("GET", "/v1/invocations/inv_01", Reply(view(State.PENDING)))
    told = enter(f"approve inv_01 --as alice {option}")
    assert (told.code, "--yes" in told.err) == (2, True)
    assert gateway.calls("/v1/invocations/inv_01/votes") == []


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_a_vote_on_what_changed_since_is_not_sent(gateway: StubGateway, enter: Type, verb: str) -> None:
    """The digits of the card are those of something else by now."""
    gateway.when("GET", "/v1/invocations/inv_01", Reply(view(State.PENDING)))
    told = enter(f"{verb} inv_01 bbbbbbbb --reason no --as alice")
    assert (told.code, "not what you saw" in told.err) == (2, True)
    assert gateway.calls("/v1/invocations/inv_01/votes") == []


@pytest.mark.parametrize(("kind", "code"), [("invocation", 0), ("refusal", 3), ("mistake", 2)])
def test_a_refused_vote_is_told_in_the_gateway_s_words(gateway: StubGateway, enter: Type, kind: str, code: int) -> None:
    """Alice's own approval, for example."""
    answer = golden("answer")
    card = answer.card.model_copy(update={"title": "You asked for it yourself."})
    gateway.when("GET", "/v1/invocations/inv_01", Reply(view(State.PENDING)))
    gateway.when("POST", "/v1/invocations/inv_01/votes", Reply(answer.model_copy(update={"kind": kind, "card": card})))
    typed = enter("approve inv_01 --yes --as alice")
    assert (typed.code, "You asked for it yourself." in typed.out) == (code, True)


def test_a_rejection_needs_a_reason(enter: Type) -> None:
    """The asker reads it."""
    typed = enter("reject inv_01 --as alice")
    assert (typed.code, "--reason" in typed.err) == (2, True)


def test_cancel_sends_the_reason(gateway: StubGateway, enter: Type) -> None:
    """And shows the card."""
    gateway.when("POST", "/v1/invocations/inv_01/cancel", Reply(golden("answer")))
    assert enter("cancel inv_01 --reason 'wrong version' --as alice").code == 0
    assert gateway.calls("/v1/invocations/inv_01/cancel")[0].body["reason"] == "wrong version"


def test_status_shows_one_invocation(gateway: StubGateway, enter: Type) -> None:
    """Exit code 0: the question was answered, however the invocation fares."""
    gateway.when("GET", "/v1/invocations/inv_01", Reply(view(State.FAILED, title="It failed.")))
    typed = enter("status inv_01 --as alice")
    assert (typed.code, "It failed." in typed.out) == (0, True)
    assert enter("status inv_01 --as alice --json").json["state"] == "failed"


def test_history_lists_as_many_as_asked_for(gateway: StubGateway, enter: Type) -> None:
    """Over pages, with the filters."""
    page = golden("page_of_invocations")
    pages = [Reply(page.model_copy(update={"next": cursor})) for cursor in ("c1", "c2", "c3", "c4")]
    gateway.when("GET", "/v1/invocations", *pages)
    typed = enter("history --limit 3 --state running --service api-service --as alice")
    assert typed.code == 0
    assert typed.out.splitlines()[0].split() == ["ID", "ASKED", "STATE", "BY", "COMMAND"]
    assert len(typed.out.splitlines()) == 4
    assert gateway.calls("/v1/invocations")[0].query == {"limit": "3", "state": "running", "service": "api-service"}
    gateway.when("GET", "/v1/invocations", *pages)
    assert len(enter("history --limit 2 --as alice --json").json["items"]) == 2


def test_an_empty_history_says_what_to_do(gateway: StubGateway, enter: Type) -> None:
    """A first day."""
    gateway.when("GET", "/v1/invocations", Reply({"items": [], "next": None}))
    assert "opsgate commands" in enter("history --as alice").out


@pytest.mark.parametrize("limit", ["0", "-1", "many"])
def test_a_limit_that_is_none_is_a_usage_error(enter: Type, limit: str) -> None:
    """One or more."""
    typed = enter(f"history --limit {limit} --as alice")
    assert (typed.code, f"'{limit}' is no count" in typed.err) == (2, True)


def test_log_prints_the_lines_safely(gateway: StubGateway, enter: Type) -> None:
    """What a job printed must not act on the reader's terminal."""
    line = {"seq": 1, "at": "2026-03-02T09:30:08Z", "text": "ok \x1b[2J\tdone"}
    gateway.when("GET", "/v1/invocations/inv_01/log", Reply({"items": [line], "next": None}))
    assert enter("log inv_01 --as alice").out == "ok \\x1b[2J done\n"
    assert enter("log inv_01 --as alice --json").json == {"items": [line]}


def test_whoami_commands_and_help_show_what_the_gateway_says(gateway: StubGateway, enter: Type) -> None:
    """Each in its form, and as JSON."""
    gateway.when("GET", "/v1/whoami", Reply(golden("who_am_i")))
    gateway.when("GET", "/v1/commands", Reply(golden("page_of_commands")))
    gateway.when("POST", "/v1/messages", Reply(golden("answer").model_copy(update={"kind": "help"})))
    assert "Alice (alice), human" in enter("whoami --as alice").out
    assert "deploy ENVIRONMENT SERVICE" in enter("commands --as alice").out
    assert enter("help deploy --as alice").code == 0
    assert gateway.calls("/v1/messages")[0].body["text"] == "help deploy"
    assert enter("whoami --as alice --json").json["id"] == "alice"
    assert enter("commands --as alice --json").json["items"][0]["name"] == "deploy"


def test_version_is_printed_without_a_gateway(enter: Type) -> None:
    """Both ways people try."""
    assert enter("version").out == enter("--version").out == f"opsgate {__version__}\n"


# The audit log


def records() -> list[dict[str, Any]]:
    return [record.model_dump(mode="json") for record in golden("page_of_audit_records").items]


def test_what_audit_export_prints_verifies(gateway: StubGateway, enter: Type, tmp_path: Path) -> None:
    """The two commands fit together."""
    gateway.when("GET", "/v1/audit", Reply({"items": records(), "next": None}))
    exported = enter("audit export --as alice")
    assert [json.loads(line) for line in exported.out.splitlines()] == records()
    (tmp_path / "audit.jsonl").write_text(exported.out)
    typed = enter(f"audit verify {tmp_path / 'audit.jsonl'}")
    assert (typed.code, "The audit log holds. Records: 2, chains: 1." in typed.out) == (0, True)


def test_audit_verify_reads_the_gateway_when_no_file_is_named(gateway: StubGateway, enter: Type) -> None:
    """It computes the hashes itself: the gateway is not believed."""
    gateway.when("GET", "/v1/audit", Reply({"items": records()[1:], "next": None}))
    typed = enter("audit verify --as alice")
    assert (typed.code, "BROKEN at gateway-1/2" in typed.out, "missing before it: 1" in typed.out) == (1, True, True)


def test_audit_verify_names_a_flipped_byte_and_a_torn_line(enter: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    """From stdin too; as JSON for scripts."""
    lines = [json.dumps(record) for record in records()]
    content = f"{lines[0]}\n{lines[1].replace('bob', 'eve')}\n{lines[0][:20]}".encode()
    for option in ("", "--json"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        typed = enter(f"audit verify - {option}")
        assert typed.code == 1
    report = typed.json
    assert (report["ok"], report["chains"][0]["broken"]["seq"], report["bad_lines"][0]["line"]) == (False, 2, 3)
    assert report["chains"][0]["broken"]["why"] == "hash_mismatch"


def test_an_empty_audit_file_is_not_called_good(enter: Type, tmp_path: Path) -> None:
    """Nothing was verified."""
    (tmp_path / "empty").touch()
    typed = enter(f"audit verify {tmp_path / 'empty'}")
    assert (typed.code, "nothing was verified" in typed.out) == (1, True)


# Trouble: one line, no traceback


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (problem("bad_command", 422, "There is no deplyo.", suggestion="deploy x"), 2, "Try: deploy x"),
        (problem("bad_command", 422, "No version.", examples=["deploy a b"]), 2, "For example: deploy a b"),
        (problem("unauthenticated", 401, "The token has expired."), 3, "expired"),
        (problem("forbidden", 403, "Only security may."), 3, "Only security may."),
        (problem("policy_unavailable", 503, "The policy cannot be asked."), 6, "policy"),
        (problem("rate_limited", 429, "Slower.", {"retry-after": "7"}), 1, "Try again in 7 s."),
        (problem("internal", 500, "A defect \x1b[31m\nof the gateway."), 1, "\\x1b[31m of the gateway."),
        (Reply("<html>", 200), 1, "Check the URL"),
        (Reply("", 502), 6, "cannot be reached"),
    ],
)
def test_trouble_is_one_line_that_says_what_to_do(
    gateway: StubGateway, enter: Type, answer: Reply, code: int, words: str
) -> None:
    """And a code: 2 for the caller's mistake, 3 denied, 6 when the gateway is not there for you."""
    gateway.when("POST", "/v1/invocations", answer)
    typed = enter("run deplyo --as alice")
    assert (typed.code, typed.out) == (code, "")
    assert typed.err.startswith("opsgate: ")
    assert typed.err.count("\n") == 1
    assert words in typed.err


def test_with_json_the_problem_is_printed_for_the_script(gateway: StubGateway, enter: Type) -> None:
    """The line on stderr stays for the person."""
    gateway.when("POST", "/v1/invocations", problem("bad_command", 422, "There is no deplyo."))
    typed = enter("run deplyo --as alice --json")
    assert (typed.code, typed.json["problem"]["code"]) == (2, "bad_command")
    assert "no deplyo" in typed.err


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("status inv_01", 2, "set OPSGATE_TOKEN, or give --as alice"),
        ("status inv_01 --as nobody", 2, "no persona 'nobody'"),
        ("status ../x --as alice", 2, "is no id"),
        ("status inv_01 --token t --url ftp://x", 2, "http://host:8420"),
        ("status inv_01 --token 'a b'", 2, "token"),
        ("audit verify /nowhere/at/all", 2, "/nowhere/at/all: No such file"),
        ("audit verify /", 2, "directory"),
        (f"run {'x' * 5000} --as alice", 2, "at most 4096 characters"),
    ],
)
def test_a_mistake_at_the_keyboard_is_one_line(enter: Type, line: str, code: int, words: str) -> None:
    """Whoever made it can mend it."""
    typed = enter(line)
    assert (typed.code, typed.err.count("\n")) == (code, 1)
    assert words in typed.err


@pytest.mark.parametrize(
    "line", ["", "deplyo", "run", "run x --version 1", "status", "log --follow", "audit", "completion csh"]
)
def test_wrong_usage_exits_with_2_and_the_usage(enter: Type, line: str) -> None:
    """argparse says it; there is no abbreviation to guess wrong."""
    typed = enter(line)
    assert (typed.code, typed.out) == (2, "")
    assert "usage: opsgate" in typed.err


def test_no_gateway_is_6_and_the_line_names_the_address(enter: Type, unused_tcp_port: int) -> None:
    """The most common trouble of all."""
    typed = enter(f"whoami --token t --url http://127.0.0.1:{unused_tcp_port}")
    assert (typed.code, typed.err.count("\n"), str(unused_tcp_port) in typed.err) == (6, 1, True)


def test_a_defect_is_one_line_too(enter: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the way to see more."""

    async def broken(_: object) -> None:
        raise RuntimeError("surprise")

    monkeypatch.setattr(client_module.Client, "whoami", broken)
    typed = enter("whoami --token t")
    assert (typed.code, typed.err.count("\n"), "OPSGATE_DEBUG=1" in typed.err) == (1, 1, True)


def test_a_command_line_that_is_no_text_is_told() -> None:
    """Bytes of another encoding reach Python as lone surrogates."""
    done = opsgate("run", os.fsdecode(b"deploy \xff"))
    assert (done.returncode, done.stderr.count(b"\n"), b"UTF-8" in done.stderr) == (2, 1, True)


def test_a_terminal_that_cannot_show_a_sign_shows_its_number(gateway: StubGateway) -> None:
    """LANG=C is no reason to fail."""
    gateway.when("GET", "/v1/invocations/inv_01", Reply(view(title="Grüße")))
    done = opsgate("status", "inv_01", "--token", "t", "--url", gateway.url, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout.startswith(b"\\xbb Gr\\xfc\\xdfe")) == (0, True)


def test_a_reader_that_has_enough_is_no_error(gateway: StubGateway) -> None:
    """`opsgate history | head -1`."""
    many = golden("page_of_audit_records")
    gateway.when("GET", "/v1/audit", Reply({"items": many.model_dump(mode="json")["items"] * 500, "next": None}))
    line = f"{sys.executable} -m opsgate audit export --token t --url {gateway.url} | head -n 1"
    done = subprocess.run(line, shell=True, capture_output=True, timeout=20, check=False)
    assert (done.stdout.count(b"\n"), done.stderr) == (1, b"")


def test_help_loads_nothing_but_the_parser() -> None:
    """Under 150 ms, and without the libraries of the network."""
    begin = time.perf_counter()
    done = opsgate("--help")
    took = time.perf_counter() - begin
    assert done.returncode == 0
    assert b"exit codes:" in done.stdout
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "opsgate", "--help"], capture_output=True, timeout=20, check=True
    ).stderr
    assert not any(name in loaded for name in (b"pydantic", b"httpx2", b"asyncio"))
    assert took < 0.6, "Four times the promise: test machines are busy."
