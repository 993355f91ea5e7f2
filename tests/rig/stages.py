"""Whole houses to tell stories in: the embedded profile, and the production profile with every part its own process.

Both have the same face (`Stage`), so that one story is told in each. Refuses nothing: a part that fails, fails loudly.
"""

from __future__ import annotations

import itertools
import json
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from dev.policies import OpaServer
from dev.processes import Child, answers, clean_environment, free_port
from tests.rig.servers import GATEWAY_ROLE, OWNER, Postgres, Redis, postgres, prometheus, redis
from tests.rig.tokens import Issuer, write_private_key

ROOT = Path(__file__).resolve().parents[2]
SLACK_SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
"""The example secret of Slack's own documentation."""
ROLLOUT_S = 1.5
"""Of the embedded profile: long enough to be seen under way, and half of what people get to watch."""


@dataclass
class Files:
    """A copy of what people edit while the house runs, so that a story may edit it."""

    folder: Path
    policies: Path = field(init=False)
    commands: Path = field(init=False)
    directory: Path = field(init=False)

    def __post_init__(self) -> None:
        self.policies, self.commands = self.folder / "policies", self.folder / "commands"
        self.directory = self.folder / "directory.yaml"
        shutil.copytree(ROOT / "policies", self.policies)
        shutil.copytree(ROOT / "commands", self.commands)
        shutil.copy(ROOT / "examples" / "acme" / "directory.yaml", self.directory)
        # Many stories share one house: what one leaves waiting or had rejected must not stop the next.
        self.limits(pending_per_person=1_000, cool_down_s=0)

    def limits(self, **changed: int) -> None:
        """Changes `limits` in the policies' data, as security would."""
        path = self.policies / "data.json"
        data = json.loads(path.read_text())
        data["limits"] |= changed
        path.write_text(json.dumps(data, indent=2))


@dataclass
class Stage:
    """A running house. `urls`: every gateway process; a story may speak to any of them."""

    profile: str
    urls: list[str]
    files: Files
    sandbox_url: str
    worker_token: str
    policy_status_file: Path

    @property
    def url(self) -> str:
        return self.urls[0]

    def token(self, person: str) -> str:
        """A bearer token that makes its carrier this person (`alice`, `bob`, `carol`, `dave`)."""
        raise NotImplementedError

    def http(self, person: str, node: int = 0) -> httpx2.Client:
        """An HTTP client of one gateway process, signed in as this person. Close it (it is a context)."""
        signed = {"Authorization": f"Bearer {self.token(person)}"}
        return httpx2.Client(base_url=self.urls[node % len(self.urls)], headers=signed, trust_env=False, timeout=15)


class EmbeddedStage(Stage):
    """`python -m dev` as a process of its own, as a newcomer starts it."""

    opa_pid: int
    sandbox_pid: int
    house: Child

    def token(self, person: str) -> str:
        answer = httpx2.post(f"{self.url}/v1/dev/personas/{person}/token", trust_env=False).raise_for_status()
        return str(answer.json()["token"])


@dataclass
class ProductionStage(Stage):
    """PostgreSQL, a Redis broker, an OPA server, two gateway processes and a worker process; any may be killed."""

    issuer: Issuer
    postgres: Postgres
    redis: Redis
    opa: OpaServer
    prometheus_url: str
    database: str
    logs: Path
    parts: dict[str, Child] = field(default_factory=dict)
    environments: dict[str, dict[str, str]] = field(default_factory=dict)

    def token(self, person: str) -> str:
        return self.issuer.token(person)

    def stop(self, name: str) -> None:
        """Stop a part as its operator would. To crash it: `parts[name].kill()`."""
        self.parts[name].stop()

    def launch(self, name: str) -> Child:
        """Start a part (`gateway-1`, `gateway-2`, `worker`) and go on at once."""
        command = [sys.executable, "-m", "workers" if name == "worker" else "gateway"]
        log, env = self.logs / f"{name}.log", self.environments[name]
        self.parts[name] = Child(name, command, log, env=env, cwd=ROOT)
        return self.parts[name]

    def wait(self, name: str) -> Child:
        """Until a gateway answers; for the worker, until every gateway has heard what it offers."""
        if name == "worker":
            return self.parts[name].wait_ready(lambda: all(map(_can_work, self.urls)))
        url = self.environments[name]["OPSGATE_PUBLIC_URL"]
        return self.parts[name].wait_ready(lambda: answers(f"{url}/healthz"))

    def start(self, name: str) -> Child:
        """Start a part again after it was stopped or killed, and wait for it."""
        self.launch(name)
        return self.wait(name)


def _can_work(url: str) -> bool:
    """Whether a gateway can decide, write down and hand over; a worker has said what it offers."""
    if not answers(f"{url}/readyz"):
        return False
    answer = httpx2.get(f"{url}/readyz", trust_env=False).json()
    return bool(answer["ready"] and answer["checks"]["workers"]["ok"])


_numbers = itertools.count(1)


@contextmanager
def embedded(folder: Path) -> Iterator[EmbeddedStage]:
    """The embedded profile over a data folder of its own."""
    files, ready = Files(folder), folder / "ready.json"
    command: list[object] = [
        sys.executable,
        "-m",
        "dev",
        "--port",
        "0",
        "--data",
        folder / "data",
        "--ready-file",
        ready,
    ]
    command += ["--policies", files.policies, "--commands", files.commands, "--directory", files.directory]
    command += ["--rollout-seconds", ROLLOUT_S]
    env = clean_environment() | {"OPSGATE_SLACK_SIGNING_SECRET": SLACK_SIGNING_SECRET}
    house = Child("the embedded profile", command, folder / "dev.log", env=env, cwd=ROOT)
    try:
        house.wait_ready(ready.exists, 60)
        facts = json.loads(ready.read_text())
        stage = EmbeddedStage(
            "embedded",
            [facts["url"]],
            files,
            facts["sandbox_url"],
            facts["worker_token"],
            Path(facts["policy_status_file"]),
        )
        stage.house, stage.opa_pid, stage.sandbox_pid = house, facts["opa_pid"], facts["sandbox_pid"]
        yield stage
    finally:
        house.stop()


@contextmanager
def production(folder: Path) -> Iterator[ProductionStage]:
    """The production profile, all of it, with stores of its own."""
    files, logs, database = Files(folder), folder / "logs", f"opsgate_{next(_numbers)}"
    with ExitStack() as parts:
        sandbox_url = f"http://127.0.0.1:{free_port()}"
        command = [sys.executable, "-m", "sandbox", "--port", sandbox_url.rsplit(":", 1)[1]]
        sandbox = Child("sandbox", [*command, "--data", folder / "sandbox.db"], logs / "sandbox.log", cwd=ROOT)
        parts.callback(sandbox.stop)
        stage = ProductionStage(
            "production",
            [f"http://127.0.0.1:{free_port()}" for _ in range(2)],
            files,
            sandbox_url,
            secrets.token_urlsafe(32),
            folder / "opa" / "policy-status.json",
            issuer=Issuer(folder),
            postgres=parts.enter_context(postgres()),
            redis=parts.enter_context(redis(folder / "redis")),
            opa=OpaServer(files.policies, folder / "opa"),
            prometheus_url=parts.enter_context(prometheus(folder / "prometheus", sandbox_url.removeprefix("http://"))),
            database=database,
            logs=logs,
        )
        stage.opa.start()
        parts.callback(stage.opa.stop)
        sandbox.wait_ready(lambda: answers(f"{sandbox_url}/healthz"))
        stage.parts["sandbox"] = sandbox
        stage.postgres.create(database)
        _migrate(stage)
        stage.environments = dict(_environments(stage, folder))
        for name in stage.environments:
            stage.launch(name)
            parts.callback(stage.stop, name)
        for name in stage.environments:
            stage.wait(name)
        yield stage


def _migrate(stage: ProductionStage) -> None:
    """As the owner of the database, who alone may change its schema; the gateway's role gets its rights."""
    owner = {"OPSGATE_DATABASE_URL": stage.postgres.url(stage.database, OWNER), "OPSGATE_DATABASE_ROLE": GATEWAY_ROLE}
    subprocess.run([sys.executable, "-m", "gateway", "migrate"], env=clean_environment() | owner, cwd=ROOT, check=True)


def _environments(stage: ProductionStage, folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The settings of every part of ours, as an operator would give them."""
    shared = clean_environment() | {
        "OPSGATE_WORKER_TOKEN": stage.worker_token,
        "OPSGATE_BROKER_URL": stage.redis.url(1),
    }
    gateway = shared | {
        "OPSGATE_PROFILE": "production",
        "OPSGATE_DATA_DIR": str(folder),
        "OPSGATE_HOST": "127.0.0.1",
        "OPSGATE_DATABASE_URL": stage.postgres.url(stage.database),
        "OPSGATE_REDIS_URL": stage.redis.url(0),
        "OPSGATE_OPA_URL": stage.opa.url,
        "OPSGATE_POLICY_STATUS_FILE": str(stage.policy_status_file),
        "OPSGATE_COMMANDS_DIR": str(stage.files.commands),
        "OPSGATE_DIRECTORY_FILE": str(stage.files.directory),
        "OPSGATE_TICKETS_FILE": str(ROOT / "examples" / "acme" / "tickets.yaml"),
        "OPSGATE_SIGNING_KEY_FILE": str(write_private_key(folder / "signing-key.pem")),
        "OPSGATE_TOKEN_ISSUERS_FILE": str(stage.issuer.issuers_file),
        "OPSGATE_SLACK_SIGNING_SECRET": SLACK_SIGNING_SECRET,
    }
    for number, url in enumerate(stage.urls, start=1):
        own = {"OPSGATE_PORT": url.rsplit(":", 1)[1], "OPSGATE_PUBLIC_URL": url, "OPSGATE_NODE": f"gateway-{number}"}
        own["OPSGATE_AUDIT_LOG"] = str(folder / f"audit-{number}.jsonl")
        yield f"gateway-{number}", gateway | own
    yield (
        "worker",
        shared
        | {
            "OPSGATE_GATEWAY_URL": stage.url,
            "OPSGATE_WORKER_NAME": "worker-1",
            "OPSGATE_CONNECTORS": "sandbox,prometheus",
            "OPSGATE_SANDBOX_URL": stage.sandbox_url,
            "OPSGATE_PROMETHEUS_URL": stage.prometheus_url,
            "OPSGATE_PROMETHEUS_QUERIES_FILE": str(ROOT / "examples" / "acme" / "queries.yaml"),
        },
    )
