"""The contracts as others see them: what is on the wire stays, nothing unknown gets in, nothing is changed later."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

import opsgate.contracts
from opsgate.contracts.base import Contract
from tests.contracts.shapes import GOLDEN, SCHEMAS, SHAPES, as_file, schema

REGENERATE = (
    "If that is meant, run `python -m tests.contracts.regenerate`, look at the diff of tests/contracts/schemas, and "
    "say it in CHANGELOG.md: everybody who reads or writes this shape is concerned."
)


def golden(name: str) -> str:
    file = GOLDEN / f"{name}.json"
    assert file.exists(), f"The shape {name} has no example. Write one by hand: {file}"
    return file.read_text(encoding="utf-8")


def parts(value: Any) -> Iterator[Contract]:
    """A contract and every contract inside it."""
    if isinstance(value, Contract):
        yield value
        for name in type(value).model_fields:
            yield from parts(getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:
            yield from parts(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from parts(item)


@pytest.fixture(params=sorted(SHAPES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_golden_example_says_the_same_after_parsing_and_writing(name: str) -> None:
    """What others send today must be understood tomorrow, field by field."""
    parsed = SHAPES[name].model_validate_json(golden(name))
    assert json.loads(parsed.model_dump_json(by_alias=True)) == json.loads(golden(name))


def test_the_golden_example_names_every_field(name: str) -> None:
    """An example that leaves defaults out would not notice when they change."""
    parsed = SHAPES[name].model_validate_json(golden(name))
    for part in parts(parsed):
        assert part.model_fields_set == set(type(part).model_fields), f"{name}: {type(part).__name__} is not complete"


def test_an_unknown_field_is_refused_at_every_depth(name: str) -> None:
    """No side can smuggle a field past the other, or drop one without noticing."""
    for part in parts(SHAPES[name].model_validate_json(golden(name))):
        content = part.model_dump(mode="json", by_alias=True)
        with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
            type(part).model_validate({**content, "surprise": 1})


def test_an_instance_cannot_be_changed_at_any_depth(name: str) -> None:
    """What was checked is what is used."""
    for part in parts(SHAPES[name].model_validate_json(golden(name))):
        field = next(iter(type(part).model_fields))
        with pytest.raises(ValidationError, match="Instance is frozen"):
            setattr(part, field, getattr(part, field))


def test_the_shape_is_what_it_was(name: str) -> None:
    """An accidental change of a contract is seen here, with the words that say how to make it a meant one."""
    file = SCHEMAS / f"{name}.json"
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    assert as_file(schema(name)) == before, f"The shape {name} is not what it was. {REGENERATE}"


def test_every_contract_is_part_of_a_shape_that_is_held_still() -> None:
    """A new contract must get an example and a snapshot, alone or inside another."""
    held: set[str] = set()
    for shape in SHAPES:
        content = schema(shape)
        held |= {content["title"], *content.get("$defs", {})}
    declared: set[str] = set()
    for module in pkgutil.iter_modules(opsgate.contracts.__path__):
        found = importlib.import_module(f"opsgate.contracts.{module.name}")
        declared |= {
            name
            for name, value in vars(found).items()
            if isinstance(value, type) and issubclass(value, Contract) and value.__module__ == found.__name__
        }
    assert declared - {"Contract", "Page"} <= held


def test_no_golden_file_or_snapshot_is_left_over() -> None:
    """A file nobody reads would look like a promise."""
    for folder in (GOLDEN, SCHEMAS):
        assert {file.stem for file in folder.glob("*.json")} == set(SHAPES)
