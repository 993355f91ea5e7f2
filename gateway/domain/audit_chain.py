"""How one audit record follows another: by the hash of the one before. The spec is `opsgate.contracts.audit`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import rfc8785

from opsgate.contracts.audit import GENESIS, AuditRecord


@dataclass(frozen=True)
class Entry:
    """What is to be recorded. `body` must hold no secret: it is kept for ever."""

    kind: str
    invocation_id: str
    actor: str
    at_ns: int
    body: dict[str, Any]


@dataclass(frozen=True)
class Head:
    """The end of a writer's chain."""

    writer: str
    seq: int = 0
    hash: str = GENESIS


def link(head: Head, entry: Entry) -> AuditRecord:
    """The record that follows `head`."""
    record: dict[str, Any] = {
        "writer": head.writer,
        "seq": head.seq + 1,
        "at_ns": str(entry.at_ns),
        "kind": entry.kind,
        "invocation_id": entry.invocation_id,
        "actor": entry.actor,
        "body": entry.body,
        "prev": head.hash,
    }
    return AuditRecord(**record, hash="sha256:" + hashlib.sha256(rfc8785.dumps(record)).hexdigest())
