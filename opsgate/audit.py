"""Checks audit chains without the gateway, from what `opsgate.contracts.audit` says alone.

Refuses to believe stored hashes. It cannot see that a chain's end was cut off: compare `head` with one kept elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import rfc8785
from pydantic import ValidationError

from opsgate.contracts.audit import GENESIS, AuditRecord

Why = Literal["hash_mismatch", "gap", "out_of_order", "wrong_prev"]


@dataclass(frozen=True)
class BadLine:
    """A line that holds no audit record; `line` counts from 1."""

    line: int
    why: str


@dataclass(frozen=True)
class Break:
    """Where a chain first fails. `record`: its place among the records read of this writer, from 1."""

    seq: int
    record: int
    why: Why
    text: str


@dataclass(frozen=True)
class Chain:
    """One writer's chain: how many records were seen, the last one's `seq` and hash, and the first broken place."""

    writer: str
    count: int = 0
    last_seq: int = 0
    head: str = GENESIS
    broken: Break | None = None


@dataclass(frozen=True)
class Report:
    """`chains` by writer's name. `ok`: every line was a record and every chain holds from its first record on."""

    chains: tuple[Chain, ...]
    bad_lines: tuple[BadLine, ...]

    @property
    def ok(self) -> bool:
        return not self.bad_lines and not any(chain.broken for chain in self.chains)

    @property
    def count(self) -> int:
        return sum(chain.count for chain in self.chains)

    def as_json(self) -> dict[str, Any]:
        return {"ok": self.ok, "count": self.count, **asdict(self)}


class Verifier:
    """Takes records one by one, chains mixed as they come, each chain oldest first; keeps only its chains' ends."""

    def __init__(self) -> None:
        self._chains: dict[str, Chain] = {}
        self._bad_lines: list[BadLine] = []

    def add(self, record: AuditRecord | BadLine) -> None:
        if isinstance(record, BadLine):
            self._bad_lines.append(record)
            return
        chain = self._chains.get(record.writer, Chain(record.writer))
        self._chains[record.writer] = Chain(
            writer=record.writer,
            count=chain.count + 1,
            last_seq=record.seq,
            head=record.hash,
            broken=chain.broken or _first_fault(chain, record),
        )

    def report(self) -> Report:
        return Report(tuple(self._chains[name] for name in sorted(self._chains)), tuple(self._bad_lines))


def verify(records: Iterable[AuditRecord | BadLine]) -> Report:
    """Reads all of `records` and says, per writer, whether the chain holds and where it first does not."""
    verifier = Verifier()
    for record in records:
        verifier.add(record)
    return verifier.report()


def read_jsonl(lines: Iterable[bytes]) -> Iterator[AuditRecord | BadLine]:
    """Records of a JSON lines file, opened in binary. A line that is none comes as BadLine; empty lines are skipped."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _read_line(number, line)


def record_hash(record: AuditRecord) -> str:
    """The hash the record must have. Raises ValueError for a number or text that RFC 8785 cannot write down."""
    content = record.model_dump(mode="json", exclude={"hash"})
    return "sha256:" + hashlib.sha256(rfc8785.dumps(content)).hexdigest()


def _first_fault(chain: Chain, record: AuditRecord) -> Break | None:
    why, text = _fault(chain, record)
    return Break(seq=record.seq, record=chain.count + 1, why=why, text=text) if why else None


def _fault(chain: Chain, record: AuditRecord) -> tuple[Why | None, str]:
    expected = chain.last_seq + 1
    # First the record in itself: only then its seq and prev can be believed.
    try:
        right = record_hash(record)
    except (ValueError, RecursionError):
        right = "none: it cannot be written as canonical JSON"
    if record.hash != right:
        return "hash_mismatch", f"its content is not what was written: hash is {record.hash}, should be {right}"
    if record.seq > expected:
        missing = f"{expected}" if record.seq == expected + 1 else f"{expected} to {record.seq - 1}"
        return "gap", f"missing before it: {missing}"
    if record.seq < expected:
        return "out_of_order", f"comes after {chain.last_seq}: repeated or moved"
    if record.prev != chain.head:
        return "wrong_prev", f"follows {record.prev}, but the record before it has {chain.head}"
    return None, ""


def _read_line(number: int, line: bytes) -> AuditRecord | BadLine:
    try:
        content = json.loads(line.decode("utf-8"), object_pairs_hook=_no_doubles, parse_constant=_no_constant)
        # Strict: a number turned into the text of that number is a change too.
        return AuditRecord.model_validate(content, strict=True)
    except ValidationError as why:
        first = why.errors(include_url=False, include_input=False)[0]
        return BadLine(number, f"no audit record: {'.'.join(map(str, first['loc'])) or 'line'}: {first['msg']}")
    except (ValueError, RecursionError) as why:
        return BadLine(number, f"no JSON: {why}")


def _no_doubles(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        # Two readers would see two different records.
        raise ValueError("a name occurs twice in one object")
    return content


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
