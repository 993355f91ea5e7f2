"""Turns what a person typed into words. One pass, no backtracking, linear in the length of the text.

Refuses control characters and unclosed quotes; knows nothing of commands.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from gateway.domain.errors import Mistake

# What phones, chat clients and word processors put in place of what was typed.
_LOOKALIKES = str.maketrans(
    {
        **dict.fromkeys("“”„‟«»〝〞", '"'),
        **dict.fromkeys("‘’‚‛", "'"),
        "—": "--",
        "―": "--",
        **dict.fromkeys("‐‑‒–−", "-"),
        "\t": " ",
        # Invisible: soft hyphen, marks of writing direction, zero width, joiners, byte order mark, annotations, tags.
        **dict.fromkeys([0x00AD, 0x061C, 0x180E, 0xFEFF, *range(0xFFF9, 0xFFFC), *range(0xE0000, 0xE0080)], None),
        **dict.fromkeys([*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070)], None),
    }
)

MAX_MARKS = 30
"""Combining marks in a row, as in the stream-safe format of Unicode (UAX 15); no script needs more."""
MAX_GROWTH = 4
"""How many times longer NFKC may make a line; one letter can stand for eighteen, and a line is not made of those."""


@dataclass(frozen=True)
class Word:
    """One word. `quoted`: it began with a quote, so a leading `--` or `name=` in it is plain text."""

    text: str
    quoted: bool


def normalize(text: str) -> str:
    """NFKC, straight quotes and dashes, nothing invisible. Raises Mistake on control characters and letter tricks."""
    # Twice: NFKC can bring forth a look-alike, and removing an invisible mark can bring letters together.
    clean = _nfkc(_nfkc(text).translate(_LOOKALIKES)).translate(_LOOKALIKES)
    for char in clean:
        if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp"):
            raise Mistake("The line contains a control character or a line break. Type it on one line, in plain text.")
    return clean.strip()


def _nfkc(text: str) -> str:
    """Raises Mistake on a pile of combining marks, which is sorted in quadratic time, and on a line that swells."""
    marks = 0
    for char in "" if text.isascii() else text:
        marks = marks + 1 if unicodedata.combining(char) else 0
        if marks > MAX_MARKS:
            raise Mistake(f"More than {MAX_MARKS} accents stand on one letter. Type it in plain text.")
    clean = unicodedata.normalize("NFKC", text)
    if len(clean) > MAX_GROWTH * len(text) + MAX_MARKS:
        raise Mistake("The line is made of letters that each stand for a whole word. Type it in plain text.")
    return clean


def tokenize(text: str) -> tuple[Word, ...]:
    """Splits at blanks; single or double quotes keep blanks; a backslash keeps `"` and `\\` inside double quotes.

    Raises Mistake when a quote is not closed.
    """
    words: list[Word] = []
    piece: list[str] = []
    quote = ""
    inside = quoted = False
    position, end = 0, len(text)
    while position < end:
        char = text[position]
        if quote:
            if char == quote:
                quote = ""
            elif char == "\\" and quote == '"' and position + 1 < end and text[position + 1] in '"\\':
                position += 1
                piece.append(text[position])
            else:
                piece.append(char)
        elif char in "\"'":
            quoted = quoted or not inside
            quote, inside = char, True
        elif char.isspace():
            if inside:
                words.append(Word("".join(piece), quoted))
                piece, inside, quoted = [], False, False
        else:
            piece.append(char)
            inside = True
        position += 1
    if quote:
        raise Mistake(f"A quote ({quote}) was opened and not closed.", suggestion=text[:200] + quote)
    if inside:
        words.append(Word("".join(piece), quoted))
    return tuple(words)


def quote_word(text: str) -> str:
    """The word as it must be typed so that `tokenize` gives it back, and so that it is never taken for an option."""
    plain = text and not text.startswith("-") and not any(c.isspace() or c in "\"'\\=" for c in text)
    if plain:
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
