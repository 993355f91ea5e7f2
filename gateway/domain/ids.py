"""Identifiers people quote and machines keep: a prefix and ten random letters without look-alikes (50 bits)."""

from __future__ import annotations

import re
import secrets

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
INVOCATION = re.compile(r"inv_[0-9a-hjkmnp-tv-z]{10}")


def new_id(prefix: str) -> str:
    # 32 letters: the low five bits of a random byte choose one, each as likely.
    return prefix + "_" + "".join(_ALPHABET[byte & 31] for byte in secrets.token_bytes(10))
