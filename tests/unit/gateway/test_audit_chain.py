"""What the gateway chains, the independent verifier accepts; what anybody changes afterwards, it finds."""

from __future__ import annotations

import copy
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.domain.audit_chain import Entry, Head, link
from gateway.infra.sinks import LineSink
from opsgate.audit import read_jsonl, verify
from opsgate.contracts.audit import GENESIS, AuditRecord

SAFE = 2**53 - 1
TEXT = st.text(st.characters(codec="utf-8"), max_size=10)
SCALARS = st.none() | st.booleans() | st.integers(-SAFE, SAFE) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))
ENTRIES = st.builds(
    Entry,
    kind=TEXT,
    invocation_id=TEXT,
    actor=TEXT,
    at_ns=st.integers(0, 10**20 - 1),
    body=st.dictionaries(TEXT, JSON, max_size=3),
)


def chain(entries: list[Entry], writer: str = "gateway-1", head: Head | None = None) -> list[AuditRecord]:
    records: list[AuditRecord] = []
    head = head or Head(writer)
    for entry in entries:
        made = link(head, entry)
        records.append(made)
        head = Head(made.writer, made.seq, made.hash)
    return records


def as_file(records: list[AuditRecord]) -> bytes:
    """As the gateway's sink writes them."""
    return "".join(record.model_dump_json() + "\n" for record in records).encode()


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [place for key, v in inner for place in places(v, (*path, key))]


@given(st.lists(ENTRIES, max_size=6))
def test_a_chain_of_the_gateway_holds_for_the_verifier(entries: list[Entry]) -> None:
    """Two programs that share the written rule only; the head is the last record's hash."""
    records = chain(entries)
    report = verify(records)
    assert report.ok
    assert [c.head for c in report.chains] == [r.hash for r in records[-1:]]
    assert [r.seq for r in records] == list(range(1, len(entries) + 1))
    assert [r.prev for r in records] == [GENESIS, *(r.hash for r in records)][: len(records)]


@given(st.lists(ENTRIES, max_size=5))
def test_it_holds_after_its_way_through_a_file(entries: list[Entry]) -> None:
    """Numbers, dots over letters and line separators come back as they were hashed."""
    records = chain(entries)
    report = verify(read_jsonl(io.BytesIO(as_file(records))))
    assert report.ok, report
    assert report.count == len(records)


@given(ENTRIES)
def test_nanoseconds_are_kept_exactly(entry: Entry) -> None:
    """As text: a JSON number would round them."""
    assert int(link(Head("gateway-1"), entry).at_ns) == entry.at_ns


@given(st.lists(ENTRIES, min_size=1, max_size=4), st.data())
def test_t41_any_change_of_any_value_is_found_where_it_is(entries: list[Entry], data: st.DataObject) -> None:
    """Any field of any record at any depth, to anything: the chain breaks there, or the line is no record any more."""
    lines = [json.loads(line) for line in as_file(chain(entries)).splitlines()]
    at = data.draw(st.integers(0, len(lines) - 1), label="record")
    path = data.draw(st.sampled_from(places(lines[at])), label="where")
    changed = copy.deepcopy(lines)
    inside = changed[at]
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = data.draw(JSON, label="what")
    # Numbers that are equal are one number in canonical JSON.
    assume(json.dumps(changed[at]) != json.dumps(lines[at]) and changed[at] != lines[at])
    report = verify(read_jsonl(io.BytesIO("".join(json.dumps(line) + "\n" for line in changed).encode())))
    assert not report.ok
    bad_lines = [b.line for b in report.bad_lines]
    if path == ("writer",) and not bad_lines:
        # It stands in a chain of its own now, whose first record does not begin it.
        assert {c.writer: c.broken.record for c in report.chains if c.broken}[changed[at]["writer"]] == 1
    else:
        assert at + 1 in [c.broken.record for c in report.chains if c.broken] + bad_lines


@given(st.lists(ENTRIES, min_size=2, max_size=6), st.data())
def test_t41_a_record_taken_away_doubled_or_moved_is_found(entries: list[Entry], data: st.DataObject) -> None:
    """Anywhere but at the end: a missing end shows only against a head that was kept elsewhere."""
    records = chain(entries)
    at = data.draw(st.integers(0, len(records) - 2), label="record")
    other = data.draw(st.integers(0, len(records) - 1).filter(lambda n: n != at), label="other")
    swapped = list(records)
    swapped[at], swapped[other] = swapped[other], swapped[at]
    for tampered in (records[:at] + records[at + 1 :], [*records[: at + 1], *records[at:]], swapped):
        assert not verify(tampered).ok
    shorter = verify(records[:-1])
    assert shorter.ok
    assert shorter.chains[0].head != records[-1].hash


@given(st.lists(ENTRIES, min_size=2, max_size=4), ENTRIES)
def test_t41_a_record_written_anew_with_a_right_hash_breaks_what_follows(entries: list[Entry], other: Entry) -> None:
    """Whoever can compute the hash of one record must rewrite all after it, and then the head is another."""
    records = chain(entries)
    assume(link(Head("gateway-1"), other).hash != records[0].hash)
    forged = [link(Head("gateway-1"), other), *records[1:]]
    report = verify(forged)
    assert report.chains[0].broken is not None
    assert (report.chains[0].broken.record, report.chains[0].broken.why) == (2, "wrong_prev")
    rewritten = chain([other, *entries[1:]])
    assert verify(rewritten).ok
    assert rewritten[-1].hash != records[-1].hash


@given(st.lists(ENTRIES, min_size=1, max_size=4), st.lists(ENTRIES, min_size=1, max_size=4), st.data())
def test_each_gateway_has_a_chain_of_its_own(one: list[Entry], two: list[Entry], data: st.DataObject) -> None:
    """Mixed in one sink in any order, each alone holds; a record cannot change sides."""
    left, right = chain(one, "gateway-1"), chain(two, "gateway-2")
    mixed, waiting = [], [list(left), list(right)]
    while any(waiting):
        side = data.draw(st.sampled_from([w for w in waiting if w]))
        mixed.append(side.pop(0))
    assert verify(mixed).ok
    moved = left[0].model_copy(update={"writer": "gateway-2"})
    assert not verify([moved]).ok


def test_a_gateway_that_starts_again_goes_on_with_its_chain() -> None:
    """From the head the store has."""
    entry = Entry("invocation.asked", "inv_0123456789", "alice", 1, {})
    first = chain([entry, entry])
    assert verify([*first, *chain([entry], head=Head("gateway-1", 2, first[-1].hash))]).ok


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", 2**60, object()])
def test_what_has_no_canonical_form_is_not_chained(value: Any) -> None:
    """Better no record (and so no run) than one that nobody can check."""
    with pytest.raises(ValueError):
        link(Head("gateway-1"), Entry("invocation.asked", "", "", 1, {"value": value}))


def test_t40_a_sink_that_was_full_goes_on_in_the_middle_of_its_line(tmp_path: Path, monkeypatch: Any) -> None:
    """Half a line, then no space, then space again: the file holds every record once and verifies."""
    records = chain([Entry("invocation.asked", "inv_0123456789", "alice", n, {"n": n}) for n in range(3)])
    path, room = tmp_path / "audit.jsonl", [7, 0, 100, 0]
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    write = os.write

    def scarce(to: int, data: bytes) -> int:
        if not room:
            return write(to, data)
        if (space := room.pop(0)) == 0:
            raise OSError(28, "No space left on device")
        return write(to, data[:space])

    monkeypatch.setattr(os, "write", scarce)
    sink = LineSink(descriptor)
    for _ in range(2):
        with pytest.raises(OSError):
            sink.write(records)
    sink.write(records)
    monkeypatch.undo()
    os.close(descriptor)
    report = verify(read_jsonl(io.BytesIO(path.read_bytes())))
    assert report.ok
    assert report.count == 3
