"""What every test may ask for: the policy engine, real servers, and a whole house in either profile.

A test that asks for a production part is marked `production`, and `make test-quick` leaves it out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dev.opa import find
from tests.rig import servers

if TYPE_CHECKING:
    from tests.rig.stages import EmbeddedStage, ProductionStage, Stage

REAL_SERVERS = frozenset({"postgres", "redis", "production"})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a server that Python and OPA do not bring."""
    for item in items:
        if REAL_SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.production)


@pytest.fixture(scope="session")
def opa() -> Path:
    """The OPA binary, found or got as `make dev` does."""
    return find()


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Redis]:
    """A real Redis for tests of one door; the production profile has its own."""
    with servers.redis(tmp_path_factory.mktemp("redis") / "data") as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[servers.Postgres]:
    """A real PostgreSQL for tests of one door: `create(name)` a database, then `url(name, role)`."""
    with servers.postgres() as server:
        yield server


# The stages import the applications, so they are imported only by a test that asks for one.


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStage]:
    """The embedded profile, shared by the session."""
    from tests.rig import stages

    with stages.embedded(tmp_path_factory.mktemp("embedded")) as stage:
        yield stage


@pytest.fixture(scope="session")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProductionStage]:
    """The production profile, shared by the session."""
    from tests.rig import stages

    with stages.production(tmp_path_factory.mktemp("production")) as stage:
        yield stage


@pytest.fixture(params=["embedded", pytest.param("production", marks=pytest.mark.production)])
def stage(request: pytest.FixtureRequest) -> Stage:
    """A house to tell a story in; the same story is told in both profiles."""
    found: Stage = request.getfixturevalue(request.param)
    return found
