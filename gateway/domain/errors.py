"""Every way the gateway says no to a caller, apart from a Decision (a denial is an answer, not an error).

GateError                       carries a closed code, a sentence that says what to do, and what would have been right
 |- Mistake                     the command line is not right (422)
 |- Refused                     the caller may not do this, or not now (401, 403, 404, 409, 413, 429)
 |- Unavailable                 a part the gate depends on is gone, so nothing was done (503)
Conflict                        somebody else changed it first; the flow reads again and decides again
KeyTaken                        this idempotency key already has an answer
LockHeld                        another Invocation holds the name: of a target, of an open asking, of a review
CodeUsed                        a one-time code was used before, has expired, or never was
AlreadyLinked                   the chat account is another person's
"""

from __future__ import annotations

from opsgate.contracts.problems import Code


class GateError(Exception):
    """`status` is the HTTP status; `detail` is for people; `suggestion` is a command line that would be right."""

    def __init__(
        self,
        code: Code,
        status: int,
        detail: str,
        *,
        suggestion: str | None = None,
        examples: tuple[str, ...] = (),
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.status = status
        self.detail = detail
        self.suggestion = suggestion
        self.examples = examples
        self.retry_after_s = retry_after_s


class Mistake(GateError):
    """The command line is not right; says the nearest right thing."""

    def __init__(self, detail: str, *, suggestion: str | None = None, examples: tuple[str, ...] = ()) -> None:
        super().__init__(Code.BAD_COMMAND, 422, detail, suggestion=suggestion, examples=examples)


class Refused(GateError):
    """The caller may not do this, or not now."""


class Unavailable(GateError):
    """A part the gate depends on is gone; nothing was done."""

    def __init__(self, code: Code, detail: str, retry_after_s: int = 2) -> None:
        super().__init__(code, 503, detail, retry_after_s=retry_after_s)


class Conflict(Exception):
    """The record changed since it was read."""


class KeyTaken(Exception):
    """The idempotency key was used before, or at the same moment by another."""


class LockHeld(Exception):
    """Another Invocation holds the name; the name and the other's id are the arguments."""

    def __init__(self, name: str, holder: str) -> None:
        super().__init__(holder)
        self.name = name
        self.holder = holder


class CodeUsed(Exception):
    """A one-time code was used before, has expired, or never was."""


class AlreadyLinked(Exception):
    """The chat account is another person's."""


def not_found(what: str) -> Refused:
    return Refused(Code.NOT_FOUND, 404, f"There is no {what} here, or it is not yours to see.")
