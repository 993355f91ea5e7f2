"""The binding hash: one digest of exactly what was asked, the same for everybody who computes it."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import random
import struct
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.domain.arguments import parse
from gateway.domain.binding import binding_hash, digest
from gateway.domain.directory import Asker
from gateway.flows.drafting import BOUND_CONTEXT, draft
from gateway.flows.folk import Folk
from gateway.flows.gate import Gate
from gateway.infra.files import load_catalog, load_directory
from gateway.settings import ROOT
from opsgate.contracts.base import Assurance
from opsgate.contracts.invocations import ChatContext

SAFE = 2**53 - 1
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers(-SAFE, SAFE) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))
OBJECTS = st.dictionaries(TEXT, JSON, max_size=4)
BOUND = st.fixed_dictionaries(
    {
        "subject": st.fixed_dictionaries({"type": TEXT, "id": TEXT}),
        "resource": st.fixed_dictionaries({"type": TEXT, "id": TEXT, "properties": OBJECTS}),
        "action": st.fixed_dictionaries(
            {"name": TEXT, "properties": st.fixed_dictionaries({"args": OBJECTS, "input": OBJECTS})}
        ),
        "context": st.fixed_dictionaries({"tenant": TEXT, "reason": TEXT, "ticket": TEXT, "break_glass": TEXT}),
    }
)


def hashed(request: dict[str, Any]) -> str:
    return binding_hash(request, BOUND_CONTEXT)


VECTORS = json.loads((ROOT / "tests" / "contracts" / "authzen_binding_hash.json").read_text())["vectors"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["id"])
def test_p03_the_public_test_vectors_of_the_authzen_approval_profile_are_reproduced(vector: dict[str, Any]) -> None:
    """The hash is the same for everyone: absent and null, numbers, the order of arrays, the acting client left out."""
    found = binding_hash(vector["request"], tuple(vector["binding_context_members"]))
    assert found == f"sha256:{vector['sha256_hex']}"
    short = base64.urlsafe_b64encode(bytes.fromhex(vector["sha256_hex"])).rstrip(b"=").decode()
    assert short == vector["binding_hash"], "the vectors agree with themselves"


def shuffled(value: Any, order: random.Random) -> Any:
    """The same JSON with its names in another order, at every depth."""
    if isinstance(value, dict):
        names = list(value)
        order.shuffle(names)
        return {name: shuffled(value[name], order) for name in names}
    return [shuffled(v, order) for v in value] if isinstance(value, list) else value


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside, the containers too."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [place for key, v in inner for place in places(v, (*path, key))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    made = copy.deepcopy(value)
    at = made
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = new
    return made


def same_json(a: Any, b: Any) -> bool:
    """Equal as JSON: 1 and 1.0 are one number, 1 and true are not, and -0 is 0."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same_json(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_json, a, b))
    return bool(a == b)


@given(BOUND, st.randoms(use_true_random=False))
def test_the_order_of_names_does_not_change_the_hash(bound: dict[str, Any], order: random.Random) -> None:
    """Objects are unordered, wherever they were built."""
    assert hashed(shuffled(bound, order)) == hashed(bound)


@given(BOUND, st.data())
def test_any_change_of_any_bound_field_changes_the_hash(bound: dict[str, Any], data: st.DataObject) -> None:
    """At any depth, to anything: what was approved is what runs."""
    path = data.draw(st.sampled_from([p for p in places(bound) if len(p) > 1]), label="where")
    new = data.draw(JSON, label="what")
    changed = replaced(bound, path, new)
    assume(not same_json(changed, bound))
    assert hashed(changed) != hashed(bound)


@given(BOUND, st.data())
def test_adding_or_taking_away_an_argument_changes_the_hash(bound: dict[str, Any], data: st.DataObject) -> None:
    """Absent and null are two things."""
    where = data.draw(st.sampled_from(["args", "input"]), label="where")
    name = data.draw(TEXT.filter(lambda n: n not in bound["action"]["properties"][where]))
    assert hashed(replaced(bound, ("action", "properties", where, name), None)) != hashed(bound)


@given(BOUND, st.lists(JSON, min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_a_list_does_change_the_hash(
    bound: dict[str, Any], things: list[Any], order: random.Random
) -> None:
    """A list has an order that means something."""
    other = list(things)
    order.shuffle(other)
    assume(not same_json(things, other))
    one, two = (replaced(bound, ("action", "properties", "input", "list"), each) for each in (things, other))
    assert hashed(one) != hashed(two)


@given(BOUND)
def test_it_is_the_sha_256_of_the_canonical_bytes(bound: dict[str, Any]) -> None:
    """What travelled as JSON has the hash it had before; the form is a digest with its algorithm's name."""
    found = hashed(bound)
    assert hashed(json.loads(json.dumps(bound))) == found
    assert found.startswith("sha256:")
    assert len(bytes.fromhex(found.removeprefix("sha256:"))) == 32


# ---- RFC 8785: what the canonical bytes are ------------------------------------------------------------------------

RFC_EXAMPLE = r"""{
  "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
  "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
  "literals": [null, true, false]
}"""
RFC_BYTES = bytes.fromhex(
    "7b 22 6c 69 74 65 72 61 6c 73 22 3a 5b 6e 75 6c 6c 2c 74 72"
    "75 65 2c 66 61 6c 73 65 5d 2c 22 6e 75 6d 62 65 72 73 22 3a"
    "5b 33 33 33 33 33 33 33 33 33 2e 33 33 33 33 33 33 33 2c 31"
    "65 2b 33 30 2c 34 2e 35 2c 30 2e 30 30 32 2c 31 65 2d 32 37"
    "5d 2c 22 73 74 72 69 6e 67 22 3a 22 e2 82 ac 24 5c 75 30 30"
    "30 66 5c 6e 41 27 42 5c 22 5c 5c 5c 5c 5c 22 2f 22 7d"
)
"""RFC 8785, 3.2.4: the bytes of its example, as it prints them."""


def sha256(canonical: bytes) -> str:
    return "sha256:" + hashlib.sha256(canonical).hexdigest()


def test_the_example_of_the_rfc_has_the_bytes_of_the_rfc() -> None:
    """Section 3.2.2 in, section 3.2.4 out."""
    assert digest(json.loads(RFC_EXAMPLE)) == sha256(RFC_BYTES)


def test_names_are_sorted_as_the_rfc_sorts_them() -> None:
    """Section 3.2.3: by UTF-16 code units, which is not the order of code points."""
    names = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}
    canonical = '{"\\r":2,"1":4,"\u0080":6,"\u00f6":7,"\u20ac":1,"\U0001f600":5,"\ufb33":3}'
    assert digest(names) == sha256(canonical.encode())


NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}
"""RFC 8785, appendix B: IEEE 754 bits and how they are written."""


@pytest.mark.parametrize("bits", NUMBERS)
def test_numbers_are_written_as_the_rfc_writes_them(bits: str) -> None:
    """Appendix B, every line of it."""
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert digest(number) == sha256(NUMBERS[bits].encode())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), "\ud800", {"\udead": 1}, 2**53 + 1])
def test_what_has_no_canonical_form_has_no_hash(value: Any) -> None:
    """Refused, not rounded: two things must never share a hash."""
    with pytest.raises(ValueError):
        digest(value)


# ---- what of an Invocation is bound --------------------------------------------------------------------------------

CATALOG = load_catalog(ROOT / "commands")
DIRECTORY = load_directory(ROOT / "examples" / "acme" / "directory.yaml")


class StoppedClock:
    def now_ns(self) -> int:
        return 1_763_989_200_000_000_000


@dataclass(frozen=True)
class Asking:
    """One asking; the tests change one part of it at a time."""

    line: str = "deploy production api-service --version 1.4.2 --reason release"
    person: str = "alice"
    tenant: str = "acme"
    platform: str = "slack"
    channel: str = "C0PAYMENTS"
    timeout_s: int = 600
    operation: str = "sandbox.deploy"

    def hash(self) -> str:
        nothing = cast(Any, None)
        gate = Gate(
            tenant=self.tenant,
            zones=(),
            store=nothing,
            policy=nothing,
            dispatcher=nothing,
            tickets=nothing,
            limits=nothing,
            bus=nothing,
            clock=StoppedClock(),
            catalog=lambda: CATALOG,
            folk=Folk(nothing, lambda: DIRECTORY, StoppedClock()),
            tracker=nothing,
        )
        person = DIRECTORY.person(self.person)
        assert person is not None
        who = Asker(principal=person, assurance=Assurance.VERIFIED, method="chat", platform=self.platform)
        asked = parse(self.line, CATALOG, DIRECTORY)
        changed = asked.command.model_copy(update={"timeout_s": self.timeout_s, "operation": self.operation})
        inv = draft(gate, replace(asked, command=changed), who, ChatContext(channel=self.channel), "")
        return inv.binding_hash


CHANGES: dict[str, Asking] = {
    "version": Asking(line="deploy production api-service --version 1.4.3 --reason release"),
    "environment": Asking(line="deploy staging api-service --version 1.4.2 --reason release"),
    "service": Asking(line="deploy production ledger --version 1.4.2 --reason release"),
    "reason": Asking(line="deploy production api-service --version 1.4.2 --reason 'release!'"),
    "no reason": Asking(line="deploy production api-service --version 1.4.2"),
    "command": Asking(line="migrate production api-service --version 1.4.2 --reason release"),
    "person": Asking(person="bob"),
    "tenant": Asking(tenant="other"),
    "time limit": Asking(timeout_s=601),
    "operation": Asking(operation="sandbox.restart"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_t12_what_was_asked_is_bound_in_every_part(what: str) -> None:
    """Another person, argument, target, reason or thing to run is another hash, and old votes are void."""
    assert CHANGES[what].hash() != Asking().hash()


def test_t12_latest_is_bound_as_the_version_it_means_now() -> None:
    """A mutable name is resolved before it is hashed."""
    latest = Asking(line="deploy production api-service --version latest --reason release")
    assert latest.hash() == Asking().hash()


def test_where_it_was_said_and_how_it_was_spelled_is_not_bound() -> None:
    """The same thing asked in another chat, in another order of words, is the same thing."""
    spelled = Asking(line="/ops deploy --reason release --version=1.4.2 production api-service")
    assert spelled.hash() == Asking().hash() == Asking(platform="rest", channel="").hash()
