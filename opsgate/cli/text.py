"""Text from elsewhere made safe for a terminal: what would move the cursor, recolour or reorder is shown as its number.

Refuses to trust any server text. Imports only the standard library.
"""

from __future__ import annotations

import unicodedata

# Controls, invisible format marks (among them the ones that turn writing direction), surrogates, line separators.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def one_line(text: str) -> str:
    """`text` on one line, every unsafe character written as \\x1b or \\u202e; tabs and line ends become blanks."""
    blanked = text.replace("\r\n", " ").replace("\n", " ").replace("\t", " ")
    return blanked if blanked.isascii() and blanked.isprintable() else "".join(map(_shown, blanked))


def lines(text: str) -> list[str]:
    """The lines of `text`, each made safe."""
    return [one_line(line) for line in text.replace("\r\n", "\n").split("\n")] if text else []


def _shown(char: str) -> str:
    if unicodedata.category(char) not in _UNSAFE:
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
