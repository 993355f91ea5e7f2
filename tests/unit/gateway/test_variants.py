"""What could have been asked instead: near, few, about the same service, and nothing invented."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.arguments import Asked, Options, bind, parse
from gateway.domain.catalog import Catalog, Command, Param, TargetSpec, fill
from gateway.domain.directory import Directory, ServiceEntry
from gateway.domain.variants import MOST, Variant, best, variants
from gateway.infra.files import load_catalog, load_directory
from opsgate.contracts.base import Effect
from opsgate.contracts.decisions import Decision, NextAction, Reason, Verdict

ROOT = Path(__file__).resolve().parents[3]
CATALOG = load_catalog(ROOT / "commands")
ACME = load_directory(ROOT / "examples" / "acme" / "directory.yaml")
LIMIT = Reason(code="too_many_replicas", argument="replicas", msg="They scale to at most 20 replicas each.")


def asked(line: str) -> Asked:
    return parse(line, CATALOG, ACME)


def lines(line: str, *reasons: Reason) -> list[str]:
    return [v.asked.text for v in variants(asked(line), reasons, ACME)]


def test_the_limit_a_reason_speaks_of_is_tried_first() -> None:
    """The policy said 20: that is the nearest number, and the first to be asked about."""
    found = lines("scale production web-shop 30", LIMIT)
    assert found[0] == "scale production web-shop 20"
    assert "scale staging web-shop 30" in found
    assert "scale staging web-shop 20" in found, "two changes at once"


def test_without_a_spoken_limit_it_is_halved_towards_the_least() -> None:
    """From 40 with at least 1: the middle, the least, and nearer and nearer to what was asked."""
    tried = variants(asked("scale production web-shop 40"), (), ACME)
    numbers = [v.asked.args["replicas"] for v in tried if v.changed == ("replicas",)]
    assert numbers == [21, 1, 31, 36]


def test_another_version_is_the_latest_and_another_place_is_where_it_runs() -> None:
    """Deploying an old version: the latest there, and the same elsewhere."""
    found = lines("deploy production api-service --version 1.0.0")
    assert found == [
        "deploy staging api-service --version 1.0.0",
        "deploy production api-service --version 1.4.2",
        "deploy staging api-service --version 1.4.2",
    ]


def test_a_ticket_or_an_incident_is_left_out_but_never_invented() -> None:
    """A ticket that nobody confirms may be dropped; where there was none, there is none."""
    given_one = lines("deploy staging api-service --ticket OPS-12 --reason why")
    assert "deploy staging api-service --version 1.4.2 --reason why" in given_one
    assert not any("--ticket" in v or "--break-glass" in v for v in lines("deploy staging api-service"))


def test_what_was_left_out_is_not_what_failed() -> None:
    """An optional duration that nobody gave gets no values; an optional place does, for it meant everywhere."""
    assert lines("freeze") == ["freeze staging", "freeze production"]


def test_a_switch_is_turned_only_when_the_policy_names_it() -> None:
    """`--force`, and an enum: only the argument that failed."""
    named = Reason(code="no_force", argument="force", msg="Not by force.")
    also = Reason(code="not_so", argument="how", msg="Not so.")
    wide = bind(WIDE, {"service": "one", "force": True, "how": "fast"}, Options(), SMALL)
    assert {n for v in variants(wide, (), SMALL) for n in v.changed} == {"where"}
    assert variants(wide, (named,), SMALL)[0].changed == ("force",)
    assert {v.asked.args["how"] for v in variants(wide, (also,), SMALL)} == {"fast", "slow", "never"}


SMALL = Directory(
    environments=("dev", "test", "live"),
    services=(
        ServiceEntry(name="one", environments=("dev", "live"), latest="2.0.0"),
        ServiceEntry(name="two", environments=("dev", "test", "live")),
    ),
)
WIDE = Command(
    name="turn",
    summary="Everything a Command can take",
    effect=Effect.WRITE,
    params=(
        Param(name="service", type="service"),
        Param(name="where", type="environment", required=False),
        Param(name="count", type="integer", required=False, max=10**9),
        Param(name="size", type="integer", required=False, min=-5, max=500),
        Param(name="wait", type="duration", required=False, min=0, max=10**6),
        Param(name="version", type="version", required=False),
        Param(name="how", type="enum", choices=("fast", "slow", "never"), required=False),
        Param(name="force", type="boolean", required=False),
        Param(name="note", type="string", required=False),
    ),
    target=TargetSpec(service="{service}", environment="{where}"),
    operation="test.turn",
    inputs={},
    examples=("turn one",),
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "service": st.sampled_from(["one", "two"]),
    "where": st.sampled_from([None, "dev", "test", "live"]),
    "count": st.none() | st.integers(-(10**9), 10**9),
    "size": st.none() | st.integers(-5, 500),
    "wait": st.none() | st.integers(0, 10**6),
    "version": st.sampled_from([None, "1.0.0", "2.0.0"]),
    "how": st.sampled_from([None, "fast", "slow"]),
    "force": st.sampled_from([None, True, False]),
    "note": st.none() | st.text("abc 123", min_size=1, max_size=9).filter(lambda t: bool(t.strip())),
}
OPTIONS = st.builds(
    Options, st.sampled_from(["", "because"]), st.sampled_from(["", "OPS-1"]), st.sampled_from(["", "INC-1"])
)
REASONS = st.lists(
    st.builds(
        Reason,
        code=st.just("no"),
        msg=st.text("0123456789 .-x", max_size=40),
        argument=st.sampled_from([None, *VALUES, "reason", "ticket", "nothing"]),
    ),
    max_size=4,
)


@given(st.fixed_dictionaries(VALUES), OPTIONS, REASONS, st.integers(0, MOST))
def test_variants_are_few_near_and_about_the_same_service(
    args: dict[str, Any], options: Options, reasons: list[Reason], most: int
) -> None:
    """Whatever was asked and whatever the policy said: bounded, different, at most two changes, nothing made up."""
    original = bind(WIDE, args, options, SMALL)
    found = variants(original, reasons, SMALL, most)
    texts = [v.asked.text for v in found]
    assert len(found) <= most
    assert len(set(texts)) == len(texts)
    assert original.text not in texts
    for variant in found:
        made = variant.asked
        differs = {n for n in made.args if made.args[n] != original.args[n]}
        differs |= {n for n in ("reason", "ticket", "break_glass") if getattr(made.options, n) != getattr(options, n)}
        assert differs == set(variant.changed)
        assert 1 <= len(differs) <= 2
        assert fill(WIDE.target.service, made.args) == args["service"]
        assert made.options.reason == original.options.reason
        assert made.options.ticket in ("", original.options.ticket)
        assert made.options.break_glass in ("", original.options.break_glass)
        assert parse(made.text, Catalog(commands=(WIDE,)), SMALL).args == made.args, "it can be typed as it is shown"


def answer(effect: Verdict) -> Decision:
    return Decision(
        id="dec_1",
        effect=effect,
        phase="request",
        request_hash="sha256:" + "0" * 64,
        input_digest="sha256:" + "0" * 64,
        revision="r",
        evaluated_at=datetime(2026, 1, 1, tzinfo=UTC),
        next_action=NextAction.NONE,
    )


@pytest.mark.parametrize(
    ("effects", "wanted"),
    [
        (("deny", "deny", "deny"), []),
        (("deny", "pending", "allow"), ["two", "near"]),
        (("pending", "pending", "pending"), ["near", "two"]),
        (("allow", "allow", "allow"), ["near", "two"]),
        (("allow", "deny", "deny"), ["far"]),
    ],
)
def test_the_best_is_allowed_then_small_then_near(effects: tuple[str, str, str], wanted: list[str]) -> None:
    """Allowed before waiting, one change before two, and of the same change only the nearest."""
    plain = asked("status api-service")
    tried = (Variant(plain, ("n",), 2), Variant(plain, ("n",), 0), Variant(plain, ("e", "n"), 0))
    names = dict(zip(("far", "near", "two"), tried, strict=True))
    found = best((v, answer(Verdict(e))) for v, e in zip(tried, effects, strict=True))
    assert [next(n for n, v in names.items() if v is variant) for variant, _ in found] == wanted
