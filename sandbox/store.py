"""The fleet's own SQLite file: deployments, rollouts, effects, faults. Decides nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandbox import seed
from sandbox.plans import Deployment

SCHEMA = """
create table if not exists deployments (
  service text not null, environment text not null, data text not null, primary key (service, environment));
create table if not exists rollouts (
  n integer primary key autoincrement, id text not null unique, correlation_id text not null unique,
  service text not null, environment text not null, active integer not null, data text not null);
create table if not exists asked (correlation_id text primary key, times integer not null);
create table if not exists performed (correlation_id text primary key, times integer not null);
create table if not exists pages (
  n integer primary key autoincrement, correlation_id text not null unique, data text not null);
create table if not exists faults (service text primary key, data text not null);
create table if not exists facts (name text primary key, value real not null);
"""


class Store:
    """One connection, one thread (the server's event loop). `path` is made if absent."""

    def __init__(self, path: Path, now: float) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=normal")
        self._db.executescript(SCHEMA)
        with self.transaction():
            if not self.deployments():
                for deployment in seed.deployments(now):
                    self.put_deployment(deployment)
                self._db.execute("insert into facts values ('born', ?)", (now,))

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")

    def born(self) -> float:
        """When this fleet was made, seconds since the epoch."""
        return float(self._db.execute("select value from facts where name = 'born'").fetchone()[0])

    def deployments(self) -> list[Deployment]:
        rows = self._db.execute("select data from deployments order by service, environment desc")
        return [Deployment.from_json(json.loads(data)) for (data,) in rows]

    def deployment(self, service: str, environment: str) -> Deployment | None:
        found = self._db.execute(
            "select data from deployments where service = ? and environment = ?", (service, environment)
        ).fetchone()
        return Deployment.from_json(json.loads(found[0])) if found else None

    def put_deployment(self, deployment: Deployment) -> None:
        self._db.execute(
            "insert or replace into deployments values (?, ?, ?)",
            (deployment.service, deployment.environment, json.dumps(deployment.to_json())),
        )

    def put_rollout(self, rollout: dict[str, Any], *, active: bool) -> None:
        self._db.execute(
            "insert into rollouts (id, correlation_id, service, environment, active, data) values (?, ?, ?, ?, ?, ?)"
            " on conflict (id) do update set active = excluded.active, data = excluded.data",
            (
                rollout["id"],
                rollout["correlation_id"],
                rollout["service"],
                rollout["environment"],
                int(active),
                json.dumps(rollout),
            ),
        )

    def rollout(self, rollout_id: str) -> dict[str, Any] | None:
        return self._one("select data from rollouts where id = ?", rollout_id)

    def rollout_of(self, correlation_id: str) -> dict[str, Any] | None:
        return self._one("select data from rollouts where correlation_id = ?", correlation_id)

    def active_rollouts(self) -> list[dict[str, Any]]:
        return self._many("select data from rollouts where active = 1 order by n")

    def rollouts(self, limit: int = 100) -> list[dict[str, Any]]:
        """Newest first."""
        return self._many("select data from rollouts order by n desc limit ?", limit)

    def put_page(self, page: dict[str, Any]) -> None:
        self._db.execute(
            "insert into pages (correlation_id, data) values (?, ?)", (page["correlation_id"], json.dumps(page))
        )

    def pages(self, limit: int = 100) -> list[dict[str, Any]]:
        """Newest first."""
        return self._many("select data from pages order by n desc limit ?", limit)

    def page_of(self, correlation_id: str) -> dict[str, Any] | None:
        return self._one("select data from pages where correlation_id = ?", correlation_id)

    def count(self, table: str, correlation_id: str) -> None:
        self._db.execute(
            f"insert into {table} values (?, 1) on conflict (correlation_id) do update set times = times + 1",
            (correlation_id,),
        )

    def counts(self, table: str) -> dict[str, int]:
        return dict(self._db.execute(f"select correlation_id, times from {table}").fetchall())

    def faults(self) -> dict[str, dict[str, Any]]:
        return {service: json.loads(data) for service, data in self._db.execute("select service, data from faults")}

    def put_faults(self, service: str, faults: dict[str, Any]) -> None:
        self._db.execute("insert or replace into faults values (?, ?)", (service, json.dumps(faults)))

    def clear_faults(self) -> None:
        self._db.execute("delete from faults")

    def _one(self, sql: str, *values: Any) -> dict[str, Any] | None:
        found = self._many(sql, *values)
        return found[0] if found else None

    def _many(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        return [json.loads(data) for (data,) in self._db.execute(sql, values)]
