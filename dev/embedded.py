"""The embedded profile: gateway, worker thread, private OPA and practice fleet as one command on one machine.

Refuses to listen anywhere but the loopback address, and to leave a child behind.
"""

from __future__ import annotations

import fcntl
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

import httpx2
import uvicorn
from pydantic import SecretStr

from dev.identity import IdentityProvider
from dev.policies import OpaServer
from dev.processes import Child, answers, free_port
from gateway.infra.telemetry import set_up_logs
from gateway.main import create_app
from gateway.settings import Settings
from workers.app import start_thread
from workers.settings import WorkerSettings
from workers.telemetry import send_traces

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN_S = 30


class PortTaken(Exception):
    """Something else listens there; the text says what to do."""


class DataInUse(Exception):
    """Another house lives in this data folder; the text says what to do."""


@dataclass(frozen=True)
class Layout:
    """What the house is made from: folders and files a person may edit while it runs; how long rollouts take."""

    data: Path
    policies: Path = ROOT / "policies"
    commands: Path = ROOT / "commands"
    directory: Path = ROOT / "examples" / "acme" / "directory.yaml"
    rollout_s: float = 3.0


def listen(port: int) -> socket.socket:
    """A listening socket on the loopback address; 0 takes a free one. Raises PortTaken."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        raise PortTaken(
            f"Port {port} is taken (another Opsgate?). Stop it, or choose another: OPSGATE_PORT={port + 1} make dev"
        ) from None
    return listener


def move_in(data: Path) -> IO[bytes]:
    """Holds the data folder, made if absent; closing the file or the end of this process lets go. Raises DataInUse.

    Two gateways of one name would write one audit chain, and neither would be right.
    """
    data.mkdir(parents=True, exist_ok=True)
    hold = (data / "in-use").open("ab")
    try:
        fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        hold.close()
        raise DataInUse(
            f"Opsgate already runs over {data}. Stop it, or give this one a folder of its own: "
            ".venv/bin/python -m dev --port 0 --data ANOTHER_FOLDER"
        ) from None
    return hold


def keep_secret(file: Path) -> str:
    """A random token in a file only its owner can read, made at the first use."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(32))
    return file.read_text()


class _Server(uvicorn.Server):
    """uvicorn, telling when it listens."""

    on_started: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_started()


class Embedded:
    """The whole house in one process and two children. Use as a context: leaving it stops every part."""

    def __init__(self, layout: Layout, port: int = 0, *, oidc: bool = False) -> None:
        """Starts nothing. `port` 0: a free one. `oidc`: with an identity provider beside it.

        Raises DataInUse or PortTaken.
        """
        self.layout = layout
        self._hold = move_in(layout.data)
        self._listener = listen(port)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.opa = OpaServer(layout.policies, layout.data)
        self.sandbox_url = f"http://127.0.0.1:{free_port()}"
        command = [sys.executable, "-m", "sandbox", "--port", self.sandbox_url.rsplit(":", 1)[1]]
        command += ["--rollout-seconds", str(layout.rollout_s)]
        self._sandbox_command = [*command, "--data", str(layout.data / "sandbox.db")]
        self.provider = IdentityProvider((self.url,), layout.data) if oidc else None
        self.parts = ExitStack()

    def __enter__(self) -> Embedded:
        """Start the children. Raises BrokenPolicy, NoOpa, NoProvider or ChildFailed, and then none is left running."""
        with ExitStack() as parts:
            parts.callback(self._hold.close)
            parts.callback(self._listener.close)
            self.sandbox = Child("sandbox", self._sandbox_command, self.layout.data / "sandbox.log", cwd=ROOT)
            parts.callback(self.sandbox.stop)
            self.opa.start()
            parts.callback(self.opa.stop)
            if self.provider is not None:
                self.provider.start()
                parts.callback(self.provider.stop)
            self.sandbox.wait_ready(lambda: answers(f"{self.sandbox_url}/healthz"))
            self.parts = parts.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.parts.close()

    def serve(self, on_ready: Callable[[], None]) -> None:
        """Serve until a signal. `on_ready` is called once, from another thread, when a command can be carried out.

        Raises BadFiles, CannotStart or ValidationError (of the settings) before it listens.
        """
        settings = self._settings()
        set_up_logs(settings.log_level)
        # log_config=None: the line above has set up logging.
        config = uvicorn.Config(create_app(settings), log_config=None, access_log=False, timeout_graceful_shutdown=1)
        server = _Server(config)
        server.on_started = threading.Thread(target=self._complete, args=(on_ready,), daemon=True).start
        server.run(sockets=[self._listener])

    def _complete(self, on_ready: Callable[[], None]) -> None:
        worker = self._worker_settings()
        send_traces(worker.otlp_endpoint, worker.worker_name)
        self.parts.callback(start_thread(worker))
        deadline = time.monotonic() + READY_WITHIN_S
        while self.waiting_for() and time.monotonic() < deadline:
            time.sleep(0.05)
        on_ready()

    def waiting_for(self) -> str:
        """What is still missing before a command can be decided and carried out; empty when nothing is."""
        answer = httpx2.get(f"{self.url}/readyz", timeout=5, trust_env=False).json()
        checks = {name: check["detail"] for name, check in answer["checks"].items() if not check["ok"]}
        if not answer["ready"]:
            return "; ".join(f"{name}: {detail}" for name, detail in checks.items())
        # An operation nobody offers here (no Prometheus on a laptop) does not keep the others from running.
        return checks.get("workers", "") if "no worker is running" in checks.get("workers", "") else ""

    def worker_token(self) -> str:
        return keep_secret(self.layout.data / "worker-token")

    def _settings(self) -> Settings:
        data = self.layout.data
        return Settings(
            profile="embedded",
            data_dir=data,
            host="127.0.0.1",
            port=self.port,
            public_url=self.url,
            database_url="",
            redis_url=SecretStr("fake://"),
            broker_url=SecretStr("memory://"),
            opa_url=self.opa.url,
            policy_status_file=self.opa.status_file,
            commands_dir=self.layout.commands,
            directory_file=self.layout.directory,
            tickets_file=ROOT / "examples" / "acme" / "tickets.yaml",
            signing_key_file=None,
            worker_token=SecretStr(self.worker_token()),
            audit_log=str(data / "audit.jsonl"),
            **(self.provider.settings() if self.provider else {}),
        )

    def _worker_settings(self) -> WorkerSettings:
        return WorkerSettings(
            gateway_url=self.url,
            worker_token=SecretStr(self.worker_token()),
            broker_url="memory://",
            sandbox_url=self.sandbox_url,
        )
