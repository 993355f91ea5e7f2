"""People: links, sign-ins, credentials, one-time codes, delegations, reviews; what makes two askings the same."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("invocations") as table:
        table.add_column(sa.Column("same", sa.Text(), nullable=False, server_default=""))
        table.add_column(sa.Column("rejected_ns", sa.BigInteger(), nullable=False, server_default="0"))
        table.create_index("invocations_state", ["state", "created_ns"])
    with op.batch_alter_table("events") as table:
        table.add_column(sa.Column("platform", sa.Text(), nullable=False, server_default=""))
        table.add_column(sa.Column("channel", sa.Text(), nullable=False, server_default=""))
        table.add_column(sa.Column("notice", sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "links",
        sa.Column("identity", sa.Text(), primary_key=True),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "known",
        sa.Column("subject", sa.Text(), primary_key=True),
        sa.Column("person", sa.Text(), nullable=False, unique=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("groups", sa.Text(), nullable=False),
        sa.Column("seen_ns", sa.BigInteger(), nullable=False),
        sa.Column("stale_ns", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "credentials",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False, unique=True),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("assurance", sa.Text(), nullable=False),
        sa.Column("mfa_at_ns", sa.BigInteger(), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("used_ns", sa.BigInteger(), nullable=False),
        sa.Column("idle_ns", sa.BigInteger(), nullable=False),
        sa.Column("expires_ns", sa.BigInteger(), nullable=False),
        sa.Column("revoked_ns", sa.BigInteger(), nullable=False),
    )
    op.create_index("credentials_account", "credentials", ["account"])
    op.create_index("credentials_owner", "credentials", ["owner"])
    op.create_index("credentials_expires", "credentials", ["expires_ns"])
    op.create_table(
        "codes",
        sa.Column("digest", sa.Text(), primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("expires_ns", sa.BigInteger(), nullable=False),
        sa.Column("used_ns", sa.BigInteger(), nullable=False),
    )
    op.create_index("codes_expires", "codes", ["expires_ns"])
    op.create_table(
        "delegations",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("giver", sa.Text(), nullable=False),
        sa.Column("taker", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("from_ns", sa.BigInteger(), nullable=False),
        sa.Column("until_ns", sa.BigInteger(), nullable=False),
        sa.Column("ended_ns", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "reviews",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("invocation_id", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("groups", sa.Text(), nullable=False),
        sa.Column("opened_ns", sa.BigInteger(), nullable=False),
        sa.Column("due_ns", sa.BigInteger(), nullable=False),
        sa.Column("closed_ns", sa.BigInteger(), nullable=False),
        sa.Column("closed_by", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
    )
    is_open = sa.text("closed_ns = 0")
    op.create_index("reviews_open", "reviews", ["person"], unique=True, sqlite_where=is_open, postgresql_where=is_open)
    op.create_table(
        "versions",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("number", sa.BigInteger(), nullable=False),
    )
    op.execute("INSERT INTO versions (name, number) VALUES ('people', 1)")
