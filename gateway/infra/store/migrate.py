"""Brings the database to this version's schema, with Alembic, and gives the gateway's database user what it needs.

In PostgreSQL that user may add audit records and read them, never change or delete one.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from gateway.infra.store.store import make_engine
from gateway.infra.store.tables import metadata

APPEND_ONLY = frozenset({"audit", "decisions"})


def upgrade(url: str, role: str = "") -> None:
    """To the newest schema. `role`: the PostgreSQL user of the gateway, who gets its grants. Runs again harmlessly."""
    engine = make_engine(url)
    try:
        with engine.connect() as connection, connection.begin():
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        if role and engine.dialect.name == "postgresql":
            _grant(engine, role)
    finally:
        engine.dispose()


def is_current(engine_url: str) -> bool:
    """Whether the database has this version's schema."""
    engine = make_engine(engine_url)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision() == _head()
    finally:
        engine.dispose()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _head() -> str | None:
    return ScriptDirectory.from_config(_config()).get_current_head()


def _grant(engine: Engine, role: str) -> None:
    quoted = engine.dialect.identifier_preparer.quote(role)
    with engine.begin() as connection:
        connection.execute(text(f"GRANT USAGE ON SCHEMA public TO {quoted}"))
        connection.execute(text(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {quoted}"))
        connection.execute(text(f"GRANT SELECT ON alembic_version TO {quoted}"))
        for table in metadata.sorted_tables:
            rights = "SELECT, INSERT" if table.name in APPEND_ONLY else "SELECT, INSERT, UPDATE, DELETE"
            connection.execute(text(f"REVOKE ALL ON {table.name} FROM {quoted}"))
            connection.execute(text(f"GRANT {rights} ON {table.name} TO {quoted}"))
