"""An audit record: append-only, hash-chained, one chain per writer.

`hash` is `sha256:` and the hex SHA-256 over the RFC 8785 JSON of the record without `hash`.
`prev` is the hash of the record before it in the same chain, or `sha256:` and 64 zeros for the first.
"""

from __future__ import annotations

from pydantic import Field

from opsgate.contracts.base import Contract, JsonObject, Sha256

GENESIS = "sha256:" + "0" * 64


class AuditRecord(Contract):
    """`writer` names the chain, `seq` counts from 1 without gaps, `at_ns` is unix nanoseconds as a decimal string.

    A string, because RFC 8785 numbers are doubles and would round nanoseconds.
    """

    writer: str
    seq: int = Field(ge=1)
    at_ns: str = Field(pattern=r"^[0-9]{1,20}$")
    kind: str
    invocation_id: str
    actor: str
    body: JsonObject
    prev: Sha256
    hash: Sha256
