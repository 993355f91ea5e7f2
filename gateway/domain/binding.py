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


def binding_hash(request: dict[str, Any], context_members: tuple[str, ...]) -> str:
    """The digest of `{subject, resource, action, context}` as the OpenID AuthZEN Access Request and Approval Profile
    binds it: without `subject.properties.act`, and of the context only the members that matter to the decision.
    """
    subject = dict(request["subject"])
    if "properties" in subject:
        subject["properties"] = {k: v for k, v in subject["properties"].items() if k != "act"}
    context = {name: value for name, value in request.get("context", {}).items() if name in context_members}
    bound = {"items": request["items"]} if "items" in request else {k: request[k] for k in ("resource", "action")}
    return digest({"subject": subject, **bound, "context": context})


def short(hashed: str) -> str:
    """What people type of a hash: its first eight digits. It says which card they saw; the id says which Invocation."""
    return hashed.removeprefix("sha256:")[:8]
