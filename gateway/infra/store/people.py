"""Rows about people: links, sign-ins, credentials, codes, delegations, reviews. Each write is all or nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Table, and_, delete, insert, or_, select, update

from gateway.domain import people as p
from gateway.domain.errors import AlreadyLinked, CodeUsed, Conflict
from gateway.infra.store import tables as t
from opsgate.contracts.base import Assurance

_LISTS = ("groups", "scopes")
CHANGES_SNAPSHOT = (p.Link, p.Unlink, p.Known, p.Unknown, p.Delegation, p.EndDelegation)
"""Writes after which every gateway reads its snapshot of people again."""


def write(connection: Connection, upsert: Any, given: p.Write) -> None:
    """Raises CodeUsed, AlreadyLinked, Conflict."""
    match given:
        case p.Link():
            _link(connection, upsert, given)
        case p.Unlink():
            connection.execute(delete(t.links).where(t.links.c.identity == given.identity))
        case p.Known():
            row = _row(given)
            connection.execute(
                upsert(t.known).values(**row).on_conflict_do_update(index_elements=["subject"], set_=row)
            )
        case p.Unknown():
            connection.execute(delete(t.known).where(t.known.c.subject == given.subject))
        case p.Credential():
            connection.execute(insert(t.credentials), _row(given))
        case p.Used():
            c = t.credentials.c
            connection.execute(
                update(t.credentials).where(c.id == given.id, c.used_ns < given.at_ns).values(used_ns=given.at_ns)
            )
        case p.Revoke():
            _revoke(connection, given)
        case p.Code():
            connection.execute(insert(t.codes), _row(given))
        case p.UseCode():
            c = t.codes.c
            unused = and_(c.digest == given.digest, c.used_ns == 0, c.expires_ns > given.at_ns)
            _one(connection, update(t.codes).where(unused).values(used_ns=given.at_ns), CodeUsed())
        case p.Delegation():
            connection.execute(insert(t.delegations), _row(given))
        case p.EndDelegation():
            held = and_(t.delegations.c.id == given.id, t.delegations.c.ended_ns == 0)
            _one(connection, update(t.delegations).where(held).values(ended_ns=given.at_ns), Conflict(given.id))
        case p.Review():
            connection.execute(insert(t.reviews), _row(given))
        case p.CloseReview():
            opened = and_(t.reviews.c.id == given.id, t.reviews.c.closed_ns == 0)
            values = {"closed_ns": given.at_ns, "closed_by": given.by, "note": given.note}
            _one(connection, update(t.reviews).where(opened).values(**values), Conflict(given.id))
    if isinstance(given, CHANGES_SNAPSHOT):
        connection.execute(
            update(t.versions).where(t.versions.c.name == "people").values(number=t.versions.c.number + 1)
        )


def _one(connection: Connection, change: Any, otherwise: Exception) -> None:
    if connection.execute(change).rowcount != 1:
        raise otherwise


def _link(connection: Connection, upsert: Any, given: p.Link) -> None:
    made = upsert(t.links).values(**_row(given)).on_conflict_do_nothing().returning(t.links.c.identity)
    if connection.execute(made).first() is None:
        owner = connection.scalar(select(t.links.c.person).where(t.links.c.identity == given.identity))
        if owner != given.person:
            raise AlreadyLinked


def _revoke(connection: Connection, given: p.Revoke) -> None:
    c = t.credentials.c
    which = c.id == given.id if given.id else and_(c.account == given.account, c.kind.in_(given.kinds))
    connection.execute(update(t.credentials).where(which, c.revoked_ns == 0).values(revoked_ns=given.at_ns))


def _row(given: Any) -> dict[str, Any]:
    row = asdict(given)
    return {**row, **{name: json.dumps(row[name]) for name in _LISTS if name in row}}


def _made(kind: type[Any], row: Any) -> Any:
    values = dict(row)
    values |= {name: tuple(json.loads(values[name])) for name in _LISTS if name in values}
    if "assurance" in values:
        values["assurance"] = Assurance(values["assurance"])
    return kind(**values)


def _all(connection: Connection, kind: type[Any], table: Table, *where: Any, limit: int | None = None) -> list[Any]:
    pick = select(table).where(*where).order_by(*table.primary_key).limit(limit)
    return [_made(kind, row) for row in connection.execute(pick).mappings()]


def snapshot(connection: Connection) -> p.People:
    """Everything decisions need."""
    # First the version: what is written meanwhile may be in the snapshot already, but it must not look up to date.
    found = version(connection)
    links = connection.execute(select(t.links.c.identity, t.links.c.person)).all()
    return p.People(
        version=found,
        links={row.identity: row.person for row in links},
        known={k.subject: k for k in _all(connection, p.Known, t.known)},
        delegations=tuple(_all(connection, p.Delegation, t.delegations, t.delegations.c.ended_ns == 0)),
    )


def version(connection: Connection) -> int:
    return int(connection.scalar(select(t.versions.c.number).where(t.versions.c.name == "people")) or 0)


def credential(connection: Connection, digest: str) -> p.Credential | None:
    found = _all(connection, p.Credential, t.credentials, t.credentials.c.digest == digest)
    return found[0] if found else None


def credentials(connection: Connection, accounts: Sequence[str]) -> list[p.Credential]:
    """Of these accounts or owned by them, newest last."""
    c = t.credentials.c
    mine = or_(c.account.in_(accounts), c.owner.in_(accounts))
    return sorted(_all(connection, p.Credential, t.credentials, mine), key=lambda found: found.created_ns)


def code(connection: Connection, digest: str) -> p.Code | None:
    found = _all(connection, p.Code, t.codes, t.codes.c.digest == digest)
    return found[0] if found else None


def forget(connection: Connection, codes_ns: int, sessions_ns: int, most: int) -> None:
    """Takes away codes and sign-ins that ended before, at most so many of each. What another gateway takes is left."""
    for table, picked in _over(codes_ns, sessions_ns):
        (key,) = table.primary_key
        pick = select(key).where(*picked).order_by(table.c.expires_ns).limit(most).with_for_update(skip_locked=True)
        if found := connection.scalars(pick).all():
            connection.execute(delete(table).where(key.in_(found)))


def is_any_over(connection: Connection, codes_ns: int, sessions_ns: int) -> bool:
    """Whether there is anything to forget."""
    picks = [select(table.c.expires_ns).where(*picked).limit(1) for table, picked in _over(codes_ns, sessions_ns)]
    return any(connection.scalar(pick) is not None for pick in picks)


def _over(codes_ns: int, sessions_ns: int) -> tuple[tuple[Table, tuple[Any, ...]], ...]:
    held = t.credentials.c
    return (
        (t.codes, (t.codes.c.expires_ns < codes_ns,)),
        (t.credentials, (held.expires_ns < sessions_ns, held.kind.in_(("console", "cli")))),
    )


def links(connection: Connection, person: str) -> list[p.Link]:
    return _all(connection, p.Link, t.links, t.links.c.person == person)


def delegations(connection: Connection, person: str, limit: int) -> list[p.Delegation]:
    c = t.delegations.c
    pick = select(t.delegations).where(or_(c.giver == person, c.taker == person))
    rows = connection.execute(pick.order_by(c.from_ns.desc(), c.id).limit(limit)).mappings()
    return [_made(p.Delegation, row) for row in rows]


def reviews(connection: Connection, open_only: bool, limit: int) -> list[p.Review]:
    where = (t.reviews.c.closed_ns == 0,) if open_only else ()
    pick = select(t.reviews).where(*where).order_by(t.reviews.c.opened_ns.desc()).limit(limit)
    return [_made(p.Review, row) for row in connection.execute(pick).mappings()]
