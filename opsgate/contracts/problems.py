"""Errors on the wire: RFC 9457 problem details with a closed list of codes."""

from __future__ import annotations

from enum import StrEnum

from opsgate.contracts.base import Contract

CONTENT_TYPE = "application/problem+json"


class Code(StrEnum):
    """Stable; callers switch on these, never on the sentences."""

    BAD_COMMAND = "bad_command"
    BAD_INPUT = "bad_input"
    TOO_LARGE = "too_large"
    UNAUTHENTICATED = "unauthenticated"
    UNPROVEN_ACTOR = "unproven_actor"
    UNLINKED_ACCOUNT = "unlinked_account"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_POSSIBLE_NOW = "not_possible_now"
    CARD_OUT_OF_DATE = "card_out_of_date"
    KEY_MISSING = "idempotency_key_missing"
    KEY_RUNNING = "idempotency_key_running"
    KEY_REUSED = "idempotency_key_reused"
    RATE_LIMITED = "rate_limited"
    POLICY_UNAVAILABLE = "policy_unavailable"
    STORE_UNAVAILABLE = "store_unavailable"
    AUDIT_UNAVAILABLE = "audit_unavailable"
    SIGN_IN_UNAVAILABLE = "sign_in_unavailable"
    INTERNAL = "internal"


class Problem(Contract):
    """`detail` says what is wrong and what to do; `suggestion` is a command line that would have been right."""

    type: str
    title: str
    status: int
    code: Code
    detail: str
    suggestion: str | None = None
    examples: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    trace_id: str = ""
