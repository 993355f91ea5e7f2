"""What people type becomes one canonical form, or a mistake with the nearest right thing."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.arguments import Asked, Options, bind, parse
from gateway.domain.catalog import Catalog, Command, Param, TargetSpec
from gateway.domain.directory import Directory
from gateway.domain.errors import Mistake
from gateway.domain.grammar import normalize, quote_word, tokenize
from gateway.infra.files import load_catalog, load_directory
from gateway.settings import ROOT
from opsgate.contracts.base import Effect

CATALOG = load_catalog(ROOT / "commands")
DIRECTORY = load_directory(ROOT / "examples" / "acme" / "directory.yaml")
EVERY_TYPE = Command(
    name="every",
    summary="Takes every type",
    effect=Effect.READ,
    params=(
        Param(name="environment", type="environment"),
        Param(name="service", type="service"),
        Param(name="text", type="string", max_length=80),
        Param(name="count", type="integer", min=-5, max=500, required=False),
        Param(name="loud", type="boolean", required=False, positional=False),
        Param(name="size", type="enum", choices=("small", "large"), required=False),
        Param(name="wait", type="duration", min=0, max=600_000, required=False, positional=False),
        Param(name="version", type="version", required=False, positional=False),
    ),
    target=TargetSpec(service="{service}", environment="{environment}"),
    operation="sandbox.every",
    inputs={"text": "{text}"},
    examples=("every staging api-service hello",),
)
ONE = Catalog(commands=(EVERY_TYPE,))


def said(line: str) -> Asked:
    return parse(line, CATALOG, DIRECTORY)


@pytest.mark.parametrize(
    "line",
    [
        "/ops deploy production api-service --version 1.4.2",
        "deploy production api-service version=1.4.2",
        "deploy --version=1.4.2 production api-service",
        "deploy production api-service —version 1.4.2",
        "ops  deploy\tproduction   “api-service”  --version ‘1.4.2’",
        "deploy pro\u200bduction api-service --version １.４.２",
    ],
)
def test_the_same_meaning_has_one_canonical_form(line: str) -> None:
    """Phones, chat clients and habits differ; what is decided does not."""
    assert said(line).text == "deploy production api-service --version 1.4.2"


@pytest.mark.parametrize(
    ("line", "words", "suggestion"),
    [
        ("deplyo production api-service", "Did you mean `deploy`", "deploy production api-service"),
        ("deploy prodction api-service", "Did you mean `production`", "deploy production api-service"),
        ("deploy production", "needs the service", "deploy staging api-service"),
        ('deploy production api-service --reason "x', "opened and not closed", None),
        ("deploy production api-service --verison 1", "Did you mean `version`", None),
        ("deploy production api-service 1.4.2", "no further argument", None),
        ("deploy production api-service --version", "needs a value", None),
        ("deploy production production", "is not one of", None),
        ("scale staging api-service many", "whole number", None),
        ("scale staging api-service 51", "1 to 50", None),
    ],
)
def test_a_mistake_says_the_nearest_right_thing(line: str, words: str, suggestion: str | None) -> None:
    """What is wrong, what was meant, and a line that would work."""
    with pytest.raises(Mistake) as mistake:
        said(line)
    assert words in mistake.value.detail
    assert suggestion is None or mistake.value.suggestion == suggestion


@pytest.mark.parametrize("char", ["\x00", "\x1b", "\n", "\u2028", "\x7f"])
def test_control_characters_are_refused(char: str) -> None:
    """Nothing invisible gets into a log, a card or a decision."""
    with pytest.raises(Mistake, match="control character"):
        said(f"deploy production api-service --reason a{char}b")


@pytest.mark.parametrize("text", ["; rm -rf /", "a|b", "$(id)", "`id`", "&& true", "-rf", "--server=https://x", "‑n x"])
def test_t16_t17_hostile_values_stay_one_plain_value(text: str) -> None:
    """Quoted text is data: never an option, never two words."""
    asked = bind(EVERY_TYPE, {"environment": "staging", "service": "api-service", "text": text}, Options(), DIRECTORY)
    again = parse(asked.text, ONE, DIRECTORY)
    assert again == asked
    assert again.args["text"] == normalize(text)


@pytest.mark.parametrize("name", ["аpi-service", "api-servıce", "\u202eapi-service", "api‐service‮"])
def test_t18_look_alike_service_names_never_become_another_service(name: str) -> None:
    """A name is one that exists, after normalization, or it is a mistake."""
    try:
        meant = said(f"deploy staging {name}").args["service"]
    except Mistake:
        meant = "refused"
    assert meant in ("api-service", "refused")


values = {
    "environment": st.sampled_from(DIRECTORY.environments),
    "service": st.sampled_from([s.name for s in DIRECTORY.services]),
    "text": st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=40),
    "count": st.none() | st.integers(-5, 500),
    "loud": st.none() | st.booleans(),
    "size": st.none() | st.sampled_from(["small", "large"]),
    "wait": st.none() | st.integers(0, 600_000).map(lambda n: f"{n}s"),
    "version": st.none()
    | st.from_regex(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,20}", fullmatch=True).filter(lambda v: v != "latest"),
}


@given(st.fixed_dictionaries(values), st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=60))
def test_the_canonical_form_parses_to_itself(given_values: dict[str, object], reason: str) -> None:
    """Whatever was asked, its text means exactly the same again."""
    try:
        asked = bind(EVERY_TYPE, given_values, Options(reason), DIRECTORY)
    except Mistake:
        return  # nothing but blanks, for example
    assert parse(asked.text, ONE, DIRECTORY) == asked


@given(st.text(max_size=300))
def test_any_text_is_words_or_a_mistake(text: str) -> None:
    """No line can crash the parser."""
    try:
        words = tokenize(normalize(text))
    except Mistake:
        return
    assert all(tokenize(quote_word(w.text)) == tokenize(quote_word(w.text)) for w in words)
    assert [w.text for w in tokenize(" ".join(quote_word(w.text) for w in words))] == [w.text for w in words]


@given(st.text(max_size=200))
def test_normalizing_twice_is_normalizing_once(text: str) -> None:
    """Otherwise a value could change between the decision and the run."""
    try:
        once = normalize(text)
    except Mistake:
        return
    assert normalize(once) == once


@pytest.mark.parametrize("piece", ['"', "\\", "--", "a=", "\u200b", "e\u0301", "'\"", "- ", "ﷺ"])
def test_t25_hostile_text_costs_linear_time(piece: str) -> None:
    """Four times the text costs about four times the time, never sixteen."""

    def cost(length: int) -> float:
        text = (piece * length)[:length]
        best = 9.0
        for _ in range(5):
            began = time.perf_counter()
            with suppress(Mistake):
                tokenize(normalize(text))
            best = min(best, time.perf_counter() - began)
        return best

    assert cost(100_000) / max(cost(25_000), 1e-4) < 10


def test_a_directory_with_one_account_of_two_people_is_refused() -> None:
    """Four eyes must not be two accounts of one head."""
    with pytest.raises(ValueError, match="stands twice"):
        Directory.model_validate(
            {"people": [{"id": n, "name": n, "identities": ["slack:T/U"]} for n in ("ann", "ben")]}
        )
