"""Cards in a terminal: readable, coloured only where a person looks, and harmless whatever is in them."""

from __future__ import annotations

import sys
import unicodedata
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsgate.cli import render, text
from opsgate.contracts.messages import Card, Progress, Tone
from tests.unit.stub_gateway import golden

CARD: Card = golden("invocation_view").card


class Terminal:
    """A stdout that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_card_is_readable_in_plain_text() -> None:
    """Buttons become what one would type."""
    assert render.card(CARD).splitlines() == [
        "» deploy production api-service 1.4.2",
        "  Running since 09:30. Asked by Alice, approved by Bob.",
        "  Version  1.4.2",
        "  - needs one of owners:api-service",
        "  [############--------]  60%  3 of 5 replicas run 1.4.2",
        "  Cancel: opsgate cancel inv_01",
        "  Sign in and approve: https://ops.example.com/step-up/x",
        "  example: status api-service",
        "  inv_01",
    ]


def test_progress_of_unknown_length_is_only_its_text() -> None:
    """No bar that would lie."""
    assert render.progress(Progress(percent=None, text="waiting for the cluster")) == "waiting for the cluster"


@pytest.mark.parametrize("tone", get_args(Tone))
def test_every_tone_has_a_sign_and_a_colour(tone: Tone, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sign says it too, for those who see no colours."""
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    shown = render.card(Card(tone=tone, title="t", text=""))
    assert shown.startswith("\x1b[1;3")
    assert shown.endswith(" t\x1b[0m")


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_are_off_when_they_are_not_wanted(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal too."""
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, value)
    assert "\x1b" not in render.card(CARD)


@given(st.text(min_size=1))
def test_no_text_of_the_gateway_can_act_on_the_terminal(hostile: str) -> None:
    """No control, no turned writing direction, no invisible mark, no line end of its own, in any field."""
    fact, button = CARD.facts[0], CARD.buttons[0]
    shown = Card(
        tone="info",
        title=hostile,
        text="",
        facts=(fact.model_copy(update={"label": hostile, "value": hostile}),),
        bullets=(hostile,),
        progress=Progress(percent=5, text=hostile),
        buttons=(button.model_copy(update={"label": hostile, "command": hostile}),),
        examples=(hostile,),
        footer=hostile,
    )
    lines = render.card(shown).split("\n")
    assert len(lines) == 7
    assert not {unicodedata.category(char) for line in lines for char in line} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_what_was_made_safe_can_still_be_read() -> None:
    """Letters of all languages stay; what is dangerous is shown as its number."""
    assert text.one_line("Grüße 東京 ✓ a\tb\r\nc") == "Grüße 東京 ✓ a b c"
    assert text.one_line("\x1b[31m \x9b \u202e \U000e0041 \ud800") == "\\x1b[31m \\x9b \\u202e \\U000e0041 \\ud800"


def test_a_text_of_several_lines_keeps_them() -> None:
    """Each indented and safe."""
    shown = render.card(Card(tone="info", title="t", text="one\n\ttwo\rthree"))
    assert shown.split("\n")[1:] == ["  one", "   two\\x0dthree"]


def test_columns_of_a_table_stand_under_each_other() -> None:
    """And nothing trails."""
    assert render.table([("a", "bbb", "c"), ("aaa", "b", "")]) == "a    bbb  c\naaa  b"
