"""Identifiers people quote and machines keep: a prefix and ten random letters without look-alikes (50 bits)."""

from __future__ import annotations

import re
import secrets

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
INVOCATION = re.compile(r"inv_[0-9a-hjkmnp-tv-z]{10}")


def new_id(prefix: str) -> str:
    return prefix + "_" + "".join(secrets.choice(_ALPHABET) for _ in range(10))
