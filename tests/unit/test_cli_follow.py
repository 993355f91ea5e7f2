"""Following an invocation in the terminal: everybody's progress, once, in order, to the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from opsgate import client as client_module
from opsgate.contracts.invocations import InvocationView, State
from opsgate.contracts.messages import Progress
from tests.unit.cli_line import Type, keyboard
from tests.unit.stub_gateway import Reply, Stream, StubGateway, changed, logged, problem, serve, sse, view

RUN = 'run "deploy production api-service" --as alice --follow'


@pytest.fixture(scope="module")
def stub() -> Iterator[StubGateway]:
    with serve() as running:
        yield running


@pytest.fixture
def gateway(stub: StubGateway, monkeypatch: pytest.MonkeyPatch) -> StubGateway:
    monkeypatch.setattr(client_module, "FIRST_PAUSE_S", 0.01)
    stub.forget()
    stub.when("POST", "/v1/invocations", Reply(waiting()))
    return stub


@pytest.fixture
def enter(gateway: StubGateway, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Type:
    return keyboard(gateway, capsys, monkeypatch)


def waiting() -> InvocationView:
    return view(State.PENDING, 1, tone="waiting", title="Waits for one of owners:api-service", progress=None)


STORY = sse(
    changed(1, waiting()),
    changed(2, view(State.QUEUED, 2, title="Approved by Bob", progress=None)),
    changed(3, view(State.RUNNING, 3, title="Running", progress=Progress(percent=0, text="starting"))),
    logged(4, (1, "pull image"), (2, "replica 1 \x1b[2J up")),
    changed(5, view(State.RUNNING, 4, title="Running", progress=Progress(percent=50, text="2 of 4 replicas"))),
    changed(6, view(State.RUNNING, 5, title="Running", progress=Progress(percent=50, text="2 of 4 replicas"))),
    logged(7, (2, "replica 1 \x1b[2J up"), (3, "all up")),
)
LIVE = "api-service 1.4.2 is live in production"
END = sse(changed(8, view(State.SUCCEEDED, 6, tone="success", title=LIVE, progress=None)))


def test_the_story_is_told_once_and_in_order(gateway: StubGateway, enter: Type) -> None:
    """First the card, then a line a change and a log line, at the end the card of the outcome."""
    gateway.when("GET", "/v1/events", Stream((STORY, END), stays=True))
    typed = enter(RUN)
    assert (typed.code, typed.err) == (0, "")
    told = [line for line in typed.out.splitlines() if line[:1] in "…✓" or line.startswith(("  Appr", "  [", "  |"))]
    assert told == [
        "… Waits for one of owners:api-service",
        "  Approved by Bob",
        "  [--------------------]   0%  starting",
        "  | pull image",
        "  | replica 1 \\x1b[2J up",
        "  [##########----------]  50%  2 of 4 replicas",
        "  | all up",
        "✓ api-service 1.4.2 is live in production",
    ]
    (feed,) = gateway.calls("/v1/events")
    assert (feed.query, feed.headers["last-event-id"]) == ({"invocation": "inv_01"}, "0")


def test_a_feed_that_breaks_in_the_middle_is_not_noticed(gateway: StubGateway, enter: Type) -> None:
    """It goes on where it was."""
    gateway.when("GET", "/v1/events", Stream((STORY, END[:30])), Stream((END,), stays=True))
    typed = enter(RUN)
    assert (typed.code, typed.out.count("| all up"), typed.out.count("is live")) == (0, 1, 1)


@pytest.mark.parametrize(
    ("state", "code"), [(State.FAILED, 1), (State.UNKNOWN, 1), (State.CANCELLED, 5), (State.EXPIRED, 5)]
)
def test_the_outcome_is_the_exit_code(gateway: StubGateway, enter: Type, state: State, code: int) -> None:
    """However long it took."""
    gateway.when("GET", "/v1/events", Stream((STORY, sse(changed(8, view(state, 6)))), stays=True))
    assert enter(RUN).code == code


def test_what_is_over_at_once_is_not_followed(gateway: StubGateway, enter: Type) -> None:
    """A denial is final."""
    gateway.when("POST", "/v1/invocations", Reply(view(State.DENIED, 1)))
    assert enter(RUN).code == 3
    assert gateway.calls("/v1/events") == []


def test_a_timeout_says_how_to_look_again_and_exits_with_4(gateway: StubGateway, enter: Type) -> None:
    """Nothing is stopped by looking away."""
    gateway.when("GET", "/v1/events", Stream((), stays=True))
    typed = enter(f"{RUN} --timeout 0.2")
    assert (typed.code, "opsgate status inv_01" in typed.out) == (4, True)


@pytest.mark.parametrize("timeout", ["0", "-1", "soon", "1e400", "nan"])
def test_a_timeout_that_is_none_is_a_usage_error(enter: Type, timeout: str) -> None:
    """Told before anything is sent."""
    assert enter(f"{RUN} --timeout={timeout}").code == 2


def test_with_json_every_line_is_one_document(gateway: StubGateway, enter: Type) -> None:
    """`invocation` or `log`, in the order of the feed."""
    gateway.when("GET", "/v1/events", Stream((STORY, END), stays=True))
    typed = enter(f"{RUN} --json")
    lines = [json.loads(line) for line in typed.out.splitlines()]
    assert [line["type"] for line in lines] == [
        *["invocation"] * 3,
        "log",
        "log",
        *["invocation"] * 2,
        "log",
        "invocation",
    ]
    assert [line["invocation"]["version"] for line in lines if "invocation" in line] == [1, 2, 3, 4, 5, 6]
    assert [line["line"]["seq"] for line in lines if "line" in line] == [1, 2, 3]


def test_a_log_is_followed_to_the_end(gateway: StubGateway, enter: Type) -> None:
    """What is stored first, then what comes, none twice."""
    line = {"seq": 1, "at": "2026-03-02T09:30:08Z", "text": "pull image"}
    gateway.when("GET", "/v1/invocations/inv_01", Reply(view(State.RUNNING, 3)))
    gateway.when("GET", "/v1/invocations/inv_01/log", Reply({"items": [line], "next": None}))
    gateway.when("GET", "/v1/events", Stream((STORY, END), stays=True))
    typed = enter("log inv_01 --follow --as alice")
    assert (typed.code, typed.out) == (0, "pull image\nreplica 1 \\x1b[2J up\nall up\n")


def test_the_log_of_what_is_over_ends_at_once(gateway: StubGateway, enter: Type) -> None:
    """Nothing more will come."""
    gateway.when("GET", "/v1/invocations/inv_01", Reply(view(State.SUCCEEDED, 6)))
    gateway.when("GET", "/v1/invocations/inv_01/log", Reply({"items": [], "next": None}))
    assert enter("log inv_01 --follow --as alice").code == 0
    assert gateway.calls("/v1/events") == []


def test_a_refusal_in_the_middle_is_one_line(gateway: StubGateway, enter: Type) -> None:
    """The token ran out while watching."""
    gateway.when("GET", "/v1/events", Stream((STORY,)), problem("unauthenticated", 401, "The token has expired."))
    typed = enter(RUN)
    assert (typed.code, typed.err) == (3, "opsgate: The token has expired.\n")


def test_ctrl_c_stops_watching_and_says_that_it_goes_on(gateway: StubGateway) -> None:
    """No traceback, the exit code of an interrupted program."""
    gateway.when("GET", "/v1/events", Stream((STORY,), stays=True))
    line = [sys.executable, "-m", "opsgate", "run", "deploy", "--token", "t", "--url", gateway.url, "--follow"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        deadline = time.monotonic() + 10
        while b"all up" not in running.stdout.readline():
            assert time.monotonic() < deadline, "It did not follow."
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=10)
    assert (running.returncode, err) == (130, b"")
    assert b"opsgate cancel inv_01" in out
