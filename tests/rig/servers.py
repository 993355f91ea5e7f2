"""Redis, PostgreSQL and Prometheus as they run in production, started for a test run and stopped after it.

Refuses to go on without one: a missing program is an error that names the line to install it, never a skip.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT

import psycopg

from dev.machine import NEEDED, find_program, install_line
from dev.processes import Child, answers, free_port, listens

OWNER, GATEWAY_ROLE = "opsgate_owner", "opsgate_gateway"


def program(name: str) -> str:
    found = find_program(name)
    if not found:
        raise RuntimeError(f"The tests need {name}. Install with: {install_line(list(NEEDED))}")
    return found


@dataclass
class Redis:
    """`restart()` after `child.kill()` brings it back on the same port with what its append-only file kept."""

    port: int
    folder: Path
    child: Child

    def url(self, database: int = 0) -> str:
        return f"redis://127.0.0.1:{self.port}/{database}"

    def restart(self) -> None:
        self.child = _start_redis(self.port, self.folder)


def _start_redis(port: int, folder: Path) -> Child:
    settings = {"port": port, "bind": "127.0.0.1", "dir": folder, "appendonly": "yes", "save": ""}
    settings |= {"appendfsync": "everysec", "maxmemory-policy": "noeviction"}
    command = [
        program("redis-server"),
        *(part for name, value in settings.items() for part in (f"--{name}", str(value))),
    ]
    return Child("Redis", command, folder / "redis.log").wait_ready(lambda: listens(port))


@contextmanager
def redis(folder: Path) -> Iterator[Redis]:
    """A Redis with an append-only file, as docker-compose.yml runs it."""
    folder.mkdir(parents=True)
    port = free_port()
    server = Redis(port, folder, _start_redis(port, folder))
    try:
        yield server
    finally:
        server.child.stop()


@dataclass
class Postgres:
    """One cluster; `create()` makes a database in it. `restart()` after `child.kill()` recovers it."""

    port: int
    folder: Path
    account: str | None
    child: Child

    def url(self, database: str, role: str = GATEWAY_ROLE, driver: str = "postgresql+psycopg") -> str:
        return f"{driver}://{role}:{role}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> None:
        """An empty database that OWNER owns; nobody else may do anything in it but connect."""
        with psycopg.connect(self.url("postgres", "opsgate_super", "postgresql"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}" OWNER {OWNER}'.encode())
        with psycopg.connect(self.url(database, "opsgate_super", "postgresql"), autocommit=True) as connection:
            connection.execute(f"ALTER SCHEMA public OWNER TO {OWNER}".encode())

    def restart(self) -> None:
        self.child = _start_postgres(self.port, self.folder, self.account)


def _start_postgres(port: int, folder: Path, account: str | None) -> Child:
    # fsync=off: a test kills processes, never the machine, and the page cache outlives a process.
    options = ["-p", str(port), "-h", "127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"]
    command: list[object] = [program("postgres"), "-D", folder / "cluster", *options]
    child = Child("PostgreSQL", command, folder / "postgres.log", account=account, stop_signal=SIGINT, cwd=folder)

    def ready() -> bool:
        try:
            psycopg.connect(f"postgresql://opsgate_super:opsgate_super@127.0.0.1:{port}/postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    return child.wait_ready(ready)


def _unprivileged() -> str | None:
    """PostgreSQL refuses to run as root, so root lends it another account."""
    if os.geteuid() != 0:
        return None
    accounts = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in accounts else "nobody"


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A cluster of its own with password log-in, an owner role, and the restricted role the gateway uses."""
    # Not under pytest's folder: that one is closed to the account PostgreSQL runs as.
    folder, account = Path(tempfile.mkdtemp(prefix="opsgate-postgres-")), _unprivileged()
    password = folder / "password"
    password.write_text("opsgate_super")
    if account:
        for path in (folder, password):
            shutil.chown(path, account)
    try:
        options: list[str | Path] = [
            "-D",
            folder / "cluster",
            "-U",
            "opsgate_super",
            "--auth=scram-sha-256",
            f"--pwfile={password}",
        ]
        command: list[str | Path] = [program("initdb"), *options, "--no-sync", "--encoding=UTF8", "--locale=C"]
        subprocess.run(command, check=True, capture_output=True, user=account, cwd=folder)
        port = free_port()
        server = Postgres(port, folder, account, _start_postgres(port, folder, account))
        try:
            with psycopg.connect(server.url("postgres", "opsgate_super", "postgresql"), autocommit=True) as connection:
                for role in (OWNER, GATEWAY_ROLE):
                    connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'".encode())
            yield server
        finally:
            server.child.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def prometheus(folder: Path, scrape: str) -> Iterator[str]:
    """A Prometheus that scrapes `scrape` (host:port) every second; gives its URL."""
    folder.mkdir(parents=True)
    config, port = folder / "prometheus.yml", free_port()
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: sandbox, static_configs: [{{targets: ['{scrape}']}}]}}]\n"
    )
    command = [program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    child = Child("Prometheus", [*command, f"--web.listen-address=127.0.0.1:{port}"], folder / "prometheus.log")
    try:
        child.wait_ready(lambda: answers(f"http://127.0.0.1:{port}/-/ready"))
        yield f"http://127.0.0.1:{port}"
    finally:
        child.stop()
