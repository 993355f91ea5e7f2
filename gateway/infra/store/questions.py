"""Reads that join several tables: what a decision needs to know, and the feed. Each is one look at one moment."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, or_, select

from gateway.domain.binding import digest
from gateway.domain.invocation import NS, Invocation
from gateway.domain.ports import EventRow, FactRow, LogRow, Notice
from gateway.infra.store import people
from gateway.infra.store import tables as t
from opsgate.contracts.invocations import State
from opsgate.contracts.policy import Freeze, Recent

DAY_NS = 86_400 * NS


def same(inv: Invocation) -> str:
    """What makes two askings the same thing: who, command and arguments, whatever reason or ticket was given."""
    return digest({"by": inv.asked_by, "command": inv.command, "args": inv.args})


def facts(connection: Connection, about: Sequence[Invocation], now_ns: int) -> list[FactRow]:
    """For each Invocation, as it is being decided."""
    version = people.version(connection)
    return [FactRow(_freezes(connection, inv, now_ns), _recent(connection, inv, now_ns), version) for inv in about]


def _freezes(connection: Connection, inv: Invocation, now_ns: int) -> tuple[Freeze, ...]:
    scopes = {"*", inv.environment, f"{inv.environment}/{inv.service}"} - {"", "/"}
    c = t.freezes.c
    frozen = select(t.freezes).where(c.scope.in_(scopes), or_(c.until_ns == 0, c.until_ns > now_ns))
    return tuple(Freeze(**row) for row in connection.execute(frozen).mappings())


def _recent(connection: Connection, inv: Invocation, now_ns: int) -> Recent:
    c, r = t.invocations.c, t.reviews.c
    here = (c.service == inv.service, c.environment == inv.environment, c.created_ns > now_ns - DAY_NS)
    mine = (c.asked_by == inv.asked_by, c.id != inv.id)
    count = select(func.count())
    no = select(func.max(c.rejected_ns)).where(*mine, c.same == same(inv), c.created_ns > now_ns - DAY_NS)
    row = connection.execute(
        select(
            count.where(*mine, c.created_ns > now_ns - 3600 * NS).scalar_subquery(),
            count.where(*here, c.command == inv.command, c.id != inv.id).scalar_subquery(),
            count.where(*here, c.state == State.RUNNING, c.id != inv.id).scalar_subquery(),
            count.where(*mine, c.state == State.PENDING).scalar_subquery(),
            no.scalar_subquery(),
            count.where(r.person == inv.asked_by, r.closed_ns == 0, r.invocation_id != inv.id).scalar_subquery(),
        )
    ).one()
    return Recent(
        by_subject_1h=row[0],
        same_command_24h=row[1],
        running_on_resource=row[2],
        pending_by_subject=row[3],
        rejected_s=(now_ns - row[4]) // NS if row[4] else None,
        open_reviews=row[5],
    )


def events(connection: Connection, after: int, limit: int) -> list[EventRow]:
    """The next events of the feed, each with its Invocation as it is now."""
    e, inv, li = t.events.c, t.invocations.c, t.lines.c
    pick = select(t.events, inv.doc).join(t.invocations, inv.id == e.invocation_id, isouter=True)
    found = []
    for r in connection.execute(pick.where(e.id > after).order_by(e.id).limit(limit)).all():
        if r.type == "notice":
            found.append(EventRow(r.id, r.at_ns, r.type, None, notice=Notice(r.platform, r.channel, r.notice)))
            continue
        added: tuple[LogRow, ...] = ()
        if r.type == "log":
            span = li.invocation_id == r.invocation_id, li.seq.between(r.first_line, r.last_line)
            lines = connection.execute(select(li.seq, li.at_ns, li.text).where(*span).order_by(li.seq))
            added = tuple(LogRow(x.seq, x.at_ns, x.text) for x in lines)
        found.append(EventRow(r.id, r.at_ns, r.type, Invocation.model_validate_json(r.doc), added))
    return found
