"""The digest of exactly what was asked. Votes and tickets carry it; a changed argument is another hash.

Canonical form: RFC 8785 (JCS) JSON. Digest: SHA-256, written `sha256:` and hex.
"""

from __future__ import annotations

import hashlib
from typing import Any

import rfc8785


def digest(value: Any) -> str:
    """SHA-256 over the RFC 8785 form of any JSON value."""
    return "sha256:" + hashlib.sha256(rfc8785.dumps(value)).hexdigest()


def binding_hash(
    *, tenant: str, subject: str, action: dict[str, Any], target: dict[str, str], work: dict[str, Any], reason: str
) -> str:
    """`work` is what the worker will get: operation and filled-in input. The policy's answer is not part of it."""
    return digest(
        {"tenant": tenant, "subject": subject, "action": action, "target": target, "work": work, "reason": reason}
    )
