"""What can go wrong for a caller of the gateway. Refuses sentences that do not say what to do.

OpsgateError
├── Mistake              it cannot even be sent: a bad URL, token, identifier or file
├── GatewayUnreachable   nobody answered in time, or the connection broke
├── GatewayRefused       the gateway said no, with a Problem
└── BadAnswer            something answered, but not in the words of the contracts
"""

from __future__ import annotations

from opsgate.contracts.problems import Problem


class OpsgateError(Exception):
    """`str()` of it is one sentence for a person: what is wrong and what to do."""


class Mistake(OpsgateError):
    """Nothing was sent. Change what was given and try again."""


class GatewayUnreachable(OpsgateError):
    """No answer. What was sent may have arrived: send it again with the same idempotency key."""


class GatewayRefused(OpsgateError):
    """`problem` is the answer's body. `retry_after_s`: seconds the gateway asks to wait, or None."""

    def __init__(self, problem: Problem, retry_after_s: float | None = None) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.retry_after_s = retry_after_s


class BadAnswer(OpsgateError):
    """The other side is no gateway, or one of another version."""
