"""Parts that go away under a running house: what is asked meanwhile is refused or waits, in words; nothing is lost."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import httpx2
import psycopg
import pytest

from opsgate.contracts.invocations import Answer, InvocationView, State
from opsgate.contracts.problems import Code
from tests.integration.trouble import complains, failing, ready, recovering
from tests.rig import stages
from tests.rig.stages import EmbeddedStage, ProductionStage
from tests.stories.room import Room, eventually, read, refused, shown

pytestmark = pytest.mark.slow

STORE_GONE = (
    "The database does not answer or cannot be written, so nothing was done. "
    "Try again in a moment; if it stays so, tell the operator."
)
OPA_GONE = "The policy engine cannot be reached, so nothing is allowed. Try again; if it stays so, tell the operator."
ROWS = ("invocations", "audit", "outbox", "decisions", "events", "once")
"""Everything that is written together or not at all."""


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStage]:
    """An embedded house of its own: what is broken here disturbs no other test."""
    with stages.embedded(tmp_path_factory.mktemp("laptop")) as stage:
        yield stage


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProductionStage]:
    """A production house of its own."""
    with stages.production(tmp_path_factory.mktemp("company")) as stage:
        yield stage


@pytest.fixture
def at_home(laptop: EmbeddedStage) -> Iterator[Room]:
    with recovering(laptop) as room:
        yield room


@pytest.fixture
def at_work(company: ProductionStage) -> Iterator[Room]:
    with recovering(company) as room:
        yield room


def done(room: Room, invocation_id: str) -> InvocationView:
    """The Invocation after it went well, and exactly once."""
    view = room.until("alice", invocation_id, within_s=40)
    assert view.state is State.SUCCEEDED, view.card.text
    assert room.effects(invocation_id) <= 1
    return view


def line(room: Room, text: str, key: str) -> httpx2.Response:
    """A chat line with a key of the caller's choice, on a connection of its own (for threads)."""
    with room.stage.http("alice") as http:
        return http.post("/v1/messages", json={"text": text}, headers={"Idempotency-Key": key})


def accepted(room: Room, text: str, key: str) -> InvocationView:
    """The Invocation of this line and key, as soon as the house takes it."""

    def ask() -> InvocationView | None:
        response = line(room, text, key)
        return read(response, Answer).invocation if response.is_success else None

    view: InvocationView = eventually(ask, what=f"`{text}` being accepted")
    return view


# ---- a laptop: OPA, SQLite and the disk -------------------------------------------------------------------------


@pytest.mark.slow
def test_opa_killed_means_no_until_it_is_back_and_it_comes_back_by_itself(laptop: EmbeddedStage, at_home: Room) -> None:
    """A denial with its own reason, in the audit log like every other; nothing was run."""
    os.kill(laptop.opa_pid, signal.SIGKILL)
    denied = at_home.ask("alice", "deploy staging api-service")
    assert (denied.state, [r.code for r in denied.decision.reasons]) == (State.DENIED, ["policy_unreachable"])
    assert denied.card.text == OPA_GONE
    assert failing(laptop)["policy"].endswith("so every command is refused until it is back")
    assert not ready(laptop)
    eventually(lambda: ready(laptop), what="OPA being started again")
    done(at_home, at_home.ask("alice", "status api-service").id)
    assert at_home.audited(denied.id) == ["invocation.asked"]
    assert at_home.effects(denied.id) == 0


@pytest.fixture
def database(laptop: EmbeddedStage) -> Iterator[sqlite3.Connection]:
    """The file of the running house, opened by somebody else."""
    with closing(sqlite3.connect(laptop.policy_status_file.parent / "opsgate.db", isolation_level=None)) as connection:
        yield connection
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def rows(database: sqlite3.Connection) -> dict[str, int]:
    return {table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ROWS}


@pytest.mark.slow
def test_a_locked_database_refuses_in_words_and_what_was_refused_never_happens(
    at_home: Room, database: sqlite3.Connection
) -> None:
    """Not even when the lock goes away the moment after; then the same keys do it, once each."""
    database.execute("BEGIN IMMEDIATE")
    before = rows(database)
    keys = [uuid4().hex for _ in range(2)]
    with ThreadPoolExecutor() as people:
        asked: list[Future[httpx2.Response]] = []
        for key in keys:
            asked.append(people.submit(line, at_home, "status api-service", key))
            time.sleep(0.5)  # the second comes while the first holds the writer's attention
        for each in asked:
            assert refused(each.result(), 503, Code.STORE_UNAVAILABLE).detail == STORE_GONE
            assert int(each.result().headers["retry-after"]) > 0
        assert failing(at_home.stage)["store"] == STORE_GONE
        assert at_home.as_("alice").get("/v1/invocations").is_success, "reading needs no lock"
        database.execute("ROLLBACK")
    eventually(lambda: ready(at_home.stage), what="the store being ready")
    assert rows(database) == before
    for key in keys:
        view = accepted(at_home, "status api-service", key)
        assert accepted(at_home, "status api-service", key).id == view.id
        done(at_home, view.id)
    assert rows(database)["invocations"] == before["invocations"] + 2


@pytest.mark.slow
def test_a_full_disk_refuses_in_words_and_stops_no_part_for_good(
    laptop: EmbeddedStage, at_home: Room, database: sqlite3.Connection
) -> None:
    """No file of the house may grow: database, audit log, log lines. With room again, all goes on by itself."""
    house = laptop.house.process.pid
    running = at_home.ask("alice", "restart staging api-service")
    at_home.until("alice", running.id, State.RUNNING)
    _, hard = resource.prlimit(house, resource.RLIMIT_FSIZE)
    resource.prlimit(house, resource.RLIMIT_FSIZE, (1, hard))
    try:
        asked = rows(database)["invocations"]
        problem = refused(line(at_home, "status ledger", "full-disk"), 503, Code.STORE_UNAVAILABLE)
        assert problem.detail == STORE_GONE
        assert complains(laptop, "store") == STORE_GONE
        before = rows(database)  # a write that had begun before the disk was full is through by now
        assert before["invocations"] == asked
        time.sleep(2)  # long enough for every background loop and the worker to meet the full disk
        assert rows(database) == before
    finally:
        resource.prlimit(house, resource.RLIMIT_FSIZE, (hard, hard))
    done(at_home, accepted(at_home, "status ledger", "full-disk").id)
    done(at_home, running.id)


def test_a_log_line_that_cannot_be_written_is_lost_and_nothing_else() -> None:
    """Or a full disk would end the loop that wanted to speak of it."""
    program = (
        "import structlog, gateway.infra.telemetry as telemetry\n"
        "telemetry.set_up_logs('info')\n"
        "structlog.get_logger().warning('part_unavailable')\n"
        "print('still here', flush=True)"
    )
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-c", program]
        ended = subprocess.run(command, cwd=stages.ROOT, stdout=subprocess.PIPE, stderr=full, text=True, check=False)
    assert ended.stdout == "still here\n"


# ---- a company: OPA ---------------------------------------------------------------------------------------------


@pytest.mark.production
def test_a_token_for_somebody_unknown_says_who_it_is_for_and_whom_to_ask(at_work: Room) -> None:
    """The company's sign-in knows them, the directory does not; by every process alike."""
    for node in range(2):
        problem = refused(at_work.as_("mallory", node).get("/v1/whoami"), 401, Code.UNAUTHENTICATED)
        assert problem.detail == (
            "You are signed in as `mallory`, whom Opsgate does not know, or not any more. Ask the operator to add you."
        )


@pytest.mark.production
def test_while_opa_is_gone_nothing_is_allowed_and_no_vote_counts(company: ProductionStage, at_work: Room) -> None:
    """What waited for approval still waits; a vote is refused in words, and given again it counts."""
    waiting = at_work.ask("alice", "deploy production api-service")
    company.opa.child.kill()
    denied = at_work.ask("alice", "deploy staging api-service", node=1)
    assert (denied.state, [r.code for r in denied.decision.reasons]) == (State.DENIED, ["policy_unreachable"])
    assert denied.card.text == OPA_GONE
    vote = at_work.say("bob", f"approve {shown(waiting)}")
    assert (vote.kind, vote.card.text) == ("refusal", f"{OPA_GONE} Your vote was not counted.")
    assert at_work.see("alice", waiting.id).state is State.PENDING
    assert [ready(company, node) for node in range(2)] == [False, False]
    eventually(lambda: all(ready(company, node) for node in range(2)), what="OPA being back")
    assert at_work.say("bob", f"approve {shown(waiting)}").kind == "invocation"
    done(at_work, waiting.id)
    assert (at_work.effects(denied.id), at_work.effects(waiting.id)) == (0, 1)


@pytest.mark.production
def test_an_opa_that_hangs_is_a_no_within_a_second(company: ProductionStage, at_work: Room) -> None:
    """A person gets a no, not a spinning wheel; many at once too."""
    company.opa.child.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        denied = at_work.ask("alice", "deploy staging api-service")
        assert time.monotonic() - began < 1
        with ThreadPoolExecutor(12) as people:
            began = time.monotonic()
            for response in people.map(lambda _: line(at_work, "restart staging ledger", uuid4().hex), range(12)):
                answer = read(response, Answer).invocation
                assert answer is not None
                assert answer.state is State.DENIED
        assert time.monotonic() - began < 3
        assert "OPA does not answer" in complains(company, "policy")
    finally:
        company.opa.child.signal(signal.SIGCONT)
    assert [r.code for r in denied.decision.reasons] == ["policy_timeout"]
    assert denied.card.text == (
        "The policy engine took too long, so nothing is allowed. Try again; if it stays so, tell the operator."
    )
    eventually(lambda: ready(company))
    done(at_work, at_work.ask("alice", "status ledger").id)


# ---- a company: PostgreSQL --------------------------------------------------------------------------------------


def counted(company: ProductionStage, query: str) -> int:
    """One number from the database, as its superuser sees it."""
    url = company.postgres.url(company.database, "opsgate_super", "postgresql")
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


def all_rows(company: ProductionStage) -> dict[str, int]:
    return {table: counted(company, f"SELECT count(*) FROM {table}") for table in ROWS}


HALVES = {
    "an Invocation without its audit record": "FROM invocations i WHERE NOT EXISTS "
    "(SELECT FROM audit a WHERE a.invocation_id = i.id AND a.kind = 'invocation.asked')",
    "an audit record without its Invocation": "FROM audit a WHERE kind = 'invocation.asked' AND NOT EXISTS "
    "(SELECT FROM invocations i WHERE i.id = a.invocation_id)",
    "a decision without its Invocation": "FROM decisions d WHERE NOT EXISTS "
    "(SELECT FROM invocations i WHERE i.id = d.invocation_id)",
    "a wake-up without its Invocation": "FROM outbox o WHERE NOT EXISTS (SELECT FROM invocations i WHERE i.id = o.job)",
    "an Invocation without its feed event": "FROM invocations i WHERE NOT EXISTS "
    "(SELECT FROM events e WHERE e.invocation_id = i.id)",
}


@pytest.mark.production
def test_without_its_database_the_house_refuses_and_writes_nothing(company: ProductionStage, at_work: Room) -> None:
    """Asking, reading and voting alike; with it, the same key works, once."""
    eventually(lambda: counted(company, "SELECT count(*) FROM outbox") == 0)
    before, key = all_rows(company), uuid4().hex
    company.postgres.child.kill()
    try:
        for node in range(2):
            for path in ("/v1/messages", "/v1/invocations"):
                response = at_work.post("alice", path, {"text": "status ledger"}, key=key, node=node)
                assert refused(response, 503, Code.STORE_UNAVAILABLE).detail == STORE_GONE
            refused(at_work.as_("alice", node).get("/v1/invocations"), 503, Code.STORE_UNAVAILABLE)
            assert failing(company, node)["store"] == STORE_GONE
            assert httpx2.get(f"{company.urls[node]}/healthz", trust_env=False).is_success
    finally:
        company.postgres.restart()
    assert all_rows(company) == before
    view = accepted(at_work, "status ledger", key)
    assert accepted(at_work, "status ledger", key).id == view.id
    done(at_work, view.id)
    assert all_rows(company)["invocations"] == before["invocations"] + 1


@pytest.mark.production
def test_a_database_that_dies_under_load_holds_whole_things_or_none(company: ProductionStage, at_work: Room) -> None:
    """Whoever was answered finds it there; whoever was told that nothing was done finds nothing."""
    keys = [uuid4().hex for _ in range(32)]
    with ThreadPoolExecutor(16) as people:
        asked = [people.submit(line, at_work, "deploy production ledger", key) for key in keys]
        eventually(lambda: sum(each.done() for each in asked) >= 4)
        company.postgres.child.kill()
        answers = [each.result() for each in asked]
    company.postgres.restart()
    for what, rows_like in HALVES.items():
        assert counted(company, f"SELECT count(*) {rows_like}") == 0, what
    kept = {key: counted(company, f"SELECT count(*) FROM once WHERE key = '{key}'") for key in keys}
    for key, answer in zip(keys, answers, strict=True):
        if answer.is_success:
            assert kept[key] == 1
        elif refused(answer, 503, Code.STORE_UNAVAILABLE).detail == STORE_GONE:
            assert kept[key] == 0
    assert 4 <= sum(answer.is_success for answer in answers) < len(keys)


# ---- a company: Redis, the broker and the worker ----------------------------------------------------------------


def waits(room: Room, invocation_id: str) -> InvocationView:
    """The Invocation once it says that it waits for a worker."""

    def look() -> InvocationView | None:
        view = room.see("alice", invocation_id)
        assert view.state is State.QUEUED
        return view if view.job and view.job.waiting_for_worker else None

    view: InvocationView = eventually(look, 30, "saying that it waits")
    return view


@pytest.mark.production
def test_without_redis_and_the_broker_what_is_allowed_waits_and_says_so(
    company: ProductionStage, at_work: Room
) -> None:
    """It is accepted, by either process; its card says what it waits for; it runs once when the broker is back."""
    company.redis.child.kill()
    try:
        lines = ("restart staging ledger", "restart staging api-service")
        waiting = [at_work.ask("alice", line, node=node) for node, line in enumerate(lines)]
        pending = at_work.ask("alice", "deploy production api-service")
        for node in range(2):
            assert complains(company, "broker", node).endswith("so what is allowed waits and starts when it is back.")
            assert failing(company, node)["redis"].startswith("Redis is gone: commands work")
            assert ready(company, node)
        for each in waiting:
            assert waits(at_work, each.id).card.text == (
                "Allowed, and waiting: no worker can be reached at the moment (the broker is gone). "
                "It starts when that works again."
            )
        assert counted(company, "SELECT count(*) FROM outbox") == len(waiting), "one wake-up each, however long"
        assert at_work.see("bob", pending.id, node=1).state is State.PENDING
    finally:
        company.redis.restart()
    for each in waiting:
        done(at_work, each.id)
        assert at_work.effects(each.id) == 1


@pytest.mark.production
def test_without_a_worker_the_card_says_so_and_it_runs_when_one_is_back(
    company: ProductionStage, at_work: Room
) -> None:
    """What the gateway does itself works meanwhile: a freeze is a brake."""
    company.stop("worker")
    try:
        waiting = at_work.ask("alice", "restart staging api-service")
        assert waiting.state is State.QUEUED
        assert waits(at_work, waiting.id).card.text == (
            "Allowed, and waiting for a worker: none that can do this is running. It starts when one is back."
        )
        for node in range(2):
            assert failing(company, node)["workers"] == "no worker is running; commands wait until one is"
            assert ready(company, node)
        assert at_work.say("alice", "help").kind == "help"
    finally:
        company.start("worker")
    done(at_work, waiting.id)
    assert at_work.effects(waiting.id) == 1
