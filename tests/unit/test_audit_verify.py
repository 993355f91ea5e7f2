"""Checking audit chains without the gateway: what was changed or taken away is found, and the place is named."""

from __future__ import annotations

import ast
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from opsgate import audit
from opsgate.audit import BadLine, Break, Report, read_jsonl, verify
from opsgate.contracts.audit import GENESIS, AuditRecord


def hashed(content: dict[str, Any]) -> AuditRecord:
    """A record with the hash that the contract's docstring asks for."""
    digest = hashlib.sha256(rfc8785.dumps(content)).hexdigest()
    return AuditRecord(**content, hash=f"sha256:{digest}")


def chain(writer: str, count: int) -> list[AuditRecord]:
    """A good chain: each record follows the one before."""
    records: list[AuditRecord] = []
    for seq in range(1, count + 1):
        prev = records[-1].hash if records else GENESIS
        body = {"text": f"deploy {seq} €\u2028\x7f", "share": 0.25, "list": [1, None, True], "deep": {"b": 1, "a": 2}}
        content = {"writer": writer, "seq": seq, "at_ns": "1772443800000000001", "kind": "asked", "body": body}
        records.append(hashed({**content, "invocation_id": f"inv_{seq}", "actor": "alice", "prev": prev}))
    return records


def as_file(records: list[AuditRecord]) -> bytes:
    lines = (json.dumps(r.model_dump(mode="json"), ensure_ascii=False, separators=(",", ":")) for r in records)
    return "".join(f"{line}\n" for line in lines).encode()


def verify_file(content: bytes) -> Report:
    return verify(read_jsonl(io.BytesIO(content)))


def broken(report: Report, writer: str = "gateway-1") -> Break:
    found = next(chain.broken for chain in report.chains if chain.writer == writer)
    assert found is not None
    return found


GOOD = as_file(chain("gateway-1", 4))


def test_a_whole_chain_holds_and_its_head_is_told() -> None:
    """The head is what one compares with a checkpoint kept elsewhere."""
    records = chain("gateway-1", 4)
    report = verify(records)
    assert report.ok
    assert [(c.writer, c.count, c.last_seq, c.head) for c in report.chains] == [("gateway-1", 4, 4, records[-1].hash)]


def test_the_chains_of_several_writers_may_be_mixed() -> None:
    """Two gateways append to one sink."""
    one, two = chain("gateway-1", 3), chain("gateway-2", 2)
    report = verify([one[0], two[0], two[1], one[1], one[2]])
    assert report.ok
    assert [(c.writer, c.count) for c in report.chains] == [("gateway-1", 3), ("gateway-2", 2)]


@given(place=st.integers(0, len(GOOD) - 2), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found(place: int, bit: int) -> None:
    """In a text, a number, a name, a hash, a line end: none stays unseen."""
    changed = bytearray(GOOD)
    changed[place] ^= 1 << bit
    assert not verify_file(bytes(changed)).ok


def test_a_flipped_byte_is_a_hash_mismatch_at_its_record() -> None:
    """Only the first broken place of a chain is told: what comes after it cannot be judged."""
    fault = broken(verify_file(GOOD.replace(b"deploy 3", b"deploy 9")))
    assert (fault.seq, fault.record, fault.why) == (3, 3, "hash_mismatch")


def test_a_missing_row_is_a_gap_and_the_missing_rows_are_named() -> None:
    """From the middle, or from the beginning."""
    records = chain("gateway-1", 5)
    middle = broken(verify([*records[:1], *records[3:]]))
    assert (middle.seq, middle.why, middle.text) == (4, "gap", "missing before it: 2 to 3")
    first = broken(verify(records[1:]))
    assert (first.seq, first.why, first.text) == (2, "gap", "missing before it: 1")


def test_a_row_put_in_another_s_place_has_the_wrong_prev() -> None:
    """Somebody who can compute hashes, but did not rewrite all that follows."""
    records = chain("gateway-1", 3)
    forged = hashed({**records[1].model_dump(mode="json", exclude={"hash"}), "actor": "mallory"})
    fault = broken(verify([records[0], forged, records[2]]))
    assert (fault.seq, fault.why) == (3, "wrong_prev")


@pytest.mark.parametrize("order", [(0, 1, 1, 2), (0, 1, 0, 2)], ids=["a row twice", "a row moved"])
def test_a_row_that_comes_again_or_late_is_told(order: tuple[int, ...]) -> None:
    """Each row stands once, in its place."""
    records = chain("gateway-1", 3)
    assert broken(verify([records[place] for place in order])).why == "out_of_order"


def test_one_broken_chain_says_nothing_about_the_others() -> None:
    """The other gateway's records are as good as before."""
    report = verify([*chain("gateway-1", 3)[1:], *chain("gateway-2", 3)])
    assert not report.ok
    assert [(c.writer, c.broken is None) for c in report.chains] == [("gateway-1", False), ("gateway-2", True)]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"writer": "gateway-1", "se', "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"level": "info"}', "no audit record: writer"),
        (b"7", "no audit record"),
        (GOOD.split(b"\n")[2].replace(b'"seq":3', b'"seq":"3"'), "no audit record: seq"),
    ],
    ids=["half a line", "no text", "too deep", "a name twice", "NaN", "another log", "a number", "another type"],
)
def test_a_line_that_is_no_record_is_told_by_its_number_and_the_rest_is_read(line: bytes, why: str) -> None:
    """A torn last line or another program's output must not hide the rest."""
    lines = GOOD.split(b"\n")
    report = verify_file(b"\n".join([*lines[:2], b"", line, *lines[2:]]))
    (bad,) = report.bad_lines
    assert (bad.line, why in bad.why) == (4, True), bad.why
    assert (report.ok, report.count, report.chains[0].broken) == (False, 4, None)


def test_a_number_that_canonical_json_cannot_hold_is_a_hash_mismatch() -> None:
    """It cannot have been hashed by anybody."""
    record = chain("gateway-1", 1)[0].model_copy(update={"body": {"n": 2**60}})
    assert broken(verify([record])).why == "hash_mismatch"


def test_the_report_says_all_of_it_in_json() -> None:
    """For scripts."""
    report = verify([BadLine(1, "no JSON"), *chain("gateway-1", 2)[1:]]).as_json()
    assert (report["ok"], report["count"], report["bad_lines"]) == (False, 1, ({"line": 1, "why": "no JSON"},))
    assert report["chains"][0]["broken"]["why"] == "gap"


def test_the_verifier_does_not_import_what_it_checks() -> None:
    """Written from the contract alone: a fault of the gateway must not be repeated here."""
    tree = ast.parse(Path(audit.__file__).read_text(encoding="utf-8"))
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {name for name in names if name.startswith("opsgate")} == {"opsgate.contracts.audit"}
    assert not any(name.split(".")[0] in ("gateway", "workers") for name in names)
