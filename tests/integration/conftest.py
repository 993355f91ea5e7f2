"""The store's databases: SQLite, and PostgreSQL as the gateway's own user reaches it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.stores import Place, empty_postgres, empty_sqlite, postgres_place, sqlite_place
from tests.rig import servers

ENGINES = ["sqlite", pytest.param("postgres", marks=pytest.mark.production)]


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return empty_sqlite(tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="session")
def empty_database(postgres: servers.Postgres) -> str:
    return empty_postgres(postgres)


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A migrated database of its own; the same is told of each engine."""
    if request.param == "sqlite":
        found = sqlite_place(tmp_path, request.getfixturevalue("empty_file"))
    else:
        found = postgres_place(request.getfixturevalue("postgres"), request.getfixturevalue("empty_database"))
    yield found
    found.close()


@pytest.fixture(params=ENGINES)
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A database without any schema, for who brings one."""
    if request.param == "sqlite":
        return sqlite_place(tmp_path, None)
    return postgres_place(request.getfixturevalue("postgres"), None)
