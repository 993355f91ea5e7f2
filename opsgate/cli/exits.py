"""Exit codes: what became of it, for scripts. Refuses to import anything heavy."""

from __future__ import annotations

OK = 0
FAILED = 1
MISTAKE = 2
DENIED = 3
WAITING = 4
STOPPED = 5
UNREACHABLE = 6
INTERRUPTED = 130
PIPE_CLOSED = 141

TABLE = """\
exit codes:
  0  succeeded; without --follow also: on its way
  1  failed, or nobody knows how it ended
  2  wrong usage, or a mistake in the command
  3  denied
  4  waits for approval; with --timeout also: not finished in time
  5  cancelled or expired
  6  the gateway cannot be reached or cannot decide now
"""

OF_STATE = {
    "pending": WAITING,
    "queued": OK,
    "running": OK,
    "succeeded": OK,
    "failed": FAILED,
    "unknown": FAILED,
    "denied": DENIED,
    "cancelled": STOPPED,
    "expired": STOPPED,
}
FINAL = frozenset(OF_STATE) - {"pending", "queued", "running"}

OF_VERDICT = {"allow": OK, "pending": WAITING, "deny": DENIED}

OF_ANSWER = {"refusal": DENIED, "mistake": MISTAKE}

_DENIED = ("unauthenticated", "unproven_actor", "unlinked_account", "forbidden")
_NOT_NOW = ("policy_unavailable", "store_unavailable", "audit_unavailable", "sign_in_unavailable")
OF_PROBLEM = {
    **dict.fromkeys(_DENIED, DENIED),
    **dict.fromkeys(_NOT_NOW, UNREACHABLE),
    "rate_limited": FAILED,
    "internal": FAILED,
}
"""Codes that are not here are mistakes of the caller."""
