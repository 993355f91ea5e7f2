"""Every state an Invocation can be in and every step between them, in one table. Nothing else is possible."""

from __future__ import annotations

from opsgate.contracts.invocations import State

S = State

START: frozenset[State] = frozenset({S.PENDING, S.QUEUED, S.DENIED})
"""The states a new Invocation can have: the three answers of the policy."""

TRANSITIONS: dict[State, frozenset[State]] = {
    S.PENDING: frozenset({S.PENDING, S.QUEUED, S.DENIED, S.CANCELLED, S.EXPIRED}),
    S.QUEUED: frozenset({S.QUEUED, S.RUNNING, S.PENDING, S.DENIED, S.CANCELLED, S.EXPIRED, S.FAILED, S.SUCCEEDED}),
    S.RUNNING: frozenset({S.RUNNING, S.SUCCEEDED, S.FAILED, S.CANCELLED, S.UNKNOWN}),
    S.SUCCEEDED: frozenset(),
    S.FAILED: frozenset(),
    S.CANCELLED: frozenset(),
    S.DENIED: frozenset(),
    S.EXPIRED: frozenset(),
    S.UNKNOWN: frozenset(),
}

FINAL: frozenset[State] = frozenset(s for s, to in TRANSITIONS.items() if not to)


class IllegalTransition(Exception):
    """A step that is not in the table: a defect of the gateway, never of a caller."""


def step(now: State, then: State) -> State:
    """`then`, if the table allows it. Raises IllegalTransition."""
    if then not in TRANSITIONS[now]:
        raise IllegalTransition(f"{now} -> {then}")
    return then
