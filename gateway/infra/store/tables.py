"""The tables. Times are unix nanoseconds, documents JSON text; `audit` is append-only (the migration enforces it)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, Table, Text, text

metadata = MetaData()
# SQLite counts up by itself only in a column of type INTEGER.
_Serial = BigInteger().with_variant(Integer, "sqlite")

invocations = Table(
    "invocations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("command", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("private", Boolean, nullable=False),
    # The command with its arguments, whatever reason or ticket was given: asking the same again is seen by it.
    Column("same", Text, nullable=False, server_default=""),
    Column("rejected_ns", BigInteger, nullable=False, server_default="0"),
    Column("created_ns", BigInteger, nullable=False),
    # When the reconciler must look at it: expiry, dead lease or deadline; null when it is final.
    Column("look_ns", BigInteger),
    Column("doc", Text, nullable=False),
    Index("invocations_created", "created_ns", "id"),
    Index("invocations_look", "look_ns"),
    Index("invocations_asked_by", "asked_by", "created_ns"),
    Index("invocations_target", "service", "environment", "created_ns"),
    Index("invocations_channel", "channel", "created_ns"),
    Index("invocations_state", "state", "created_ns"),
)

audit = Table(
    "audit",
    metadata,
    Column("writer", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("invocation_id", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("prev", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Index("audit_invocation", "invocation_id"),
    Index("audit_actor", "actor", "at_ns"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("invocation_id", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("revision", Text, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column("input", Text, nullable=False),
    Column("result", Text, nullable=False),
    Index("decisions_at", "at_ns"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("job", Text, nullable=False),
    Column("binding_hash", Text, nullable=False),
    Column("traceparent", Text, nullable=False),
    Column("due_ns", BigInteger, nullable=False),
    Index("outbox_due", "due_ns"),
)

events = Table(
    "events",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("at_ns", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("invocation_id", Text, nullable=False),
    Column("first_line", Integer, nullable=False),
    Column("last_line", Integer, nullable=False),
    Column("platform", Text, nullable=False, server_default=""),
    Column("channel", Text, nullable=False, server_default=""),
    Column("notice", Text, nullable=False, server_default=""),
)

lines = Table(
    "lines",
    metadata,
    Column("invocation_id", Text, primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
)

once = Table(
    "once",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("answer", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
)

locks = Table(
    "locks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("invocation_id", Text, nullable=False),
    Column("since_ns", BigInteger, nullable=False),
)

freezes = Table(
    "freezes",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("from_ns", BigInteger, nullable=False),
    Column("until_ns", BigInteger, nullable=False),
)

offers = Table(
    "offers",
    metadata,
    Column("operation", Text, primary_key=True),
    Column("seen_ns", BigInteger, nullable=False),
    Column("doc", Text, nullable=False),
)

# ---- people ---------------------------------------------------------------------------------------------------------

links = Table(
    "links",
    metadata,
    Column("identity", Text, primary_key=True),
    Column("person", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
)

known = Table(
    "known",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("person", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("groups", Text, nullable=False),
    Column("seen_ns", BigInteger, nullable=False),
    Column("stale_ns", BigInteger, nullable=False),
)

credentials = Table(
    "credentials",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("digest", Text, nullable=False, unique=True),
    Column("account", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("assurance", Text, nullable=False),
    Column("mfa_at_ns", BigInteger, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("used_ns", BigInteger, nullable=False),
    Column("idle_ns", BigInteger, nullable=False),
    Column("expires_ns", BigInteger, nullable=False),
    Column("revoked_ns", BigInteger, nullable=False),
    Index("credentials_account", "account"),
    Index("credentials_owner", "owner"),
    Index("credentials_expires", "expires_ns"),
)

codes = Table(
    "codes",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("expires_ns", BigInteger, nullable=False),
    Column("used_ns", BigInteger, nullable=False),
    Index("codes_expires", "expires_ns"),
)

delegations = Table(
    "delegations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("giver", Text, nullable=False),
    Column("taker", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("from_ns", BigInteger, nullable=False),
    Column("until_ns", BigInteger, nullable=False),
    Column("ended_ns", BigInteger, nullable=False),
)

_OPEN = text("closed_ns = 0")
reviews = Table(
    "reviews",
    metadata,
    Column("id", Text, primary_key=True),
    Column("invocation_id", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("groups", Text, nullable=False),
    Column("opened_ns", BigInteger, nullable=False),
    Column("due_ns", BigInteger, nullable=False),
    Column("closed_ns", BigInteger, nullable=False),
    Column("closed_by", Text, nullable=False),
    Column("note", Text, nullable=False),
    # Two at the same moment: the second finds the first, and the policy is asked again.
    Index(
        "reviews_open",
        "person",
        unique=True,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    ),
)

versions = Table(
    "versions",
    metadata,
    Column("name", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
)
"""How often something that is held in memory changed; `people` is one row."""
