"""Any error as one line that says what to do, and the exit code it means. Refuses tracebacks."""

from __future__ import annotations

import json

from pydantic import ValidationError

from opsgate.cli import exits
from opsgate.cli.text import one_line
from opsgate.errors import GatewayRefused, GatewayUnreachable, Mistake, OpsgateError


def told(error: Exception, *, as_json: bool) -> tuple[str, int]:
    """The line and the code. With `as_json` a Problem is printed to stdout too, for the script that reads it."""
    if isinstance(error, GatewayRefused):
        if as_json:
            print(json.dumps({"problem": error.problem.model_dump(mode="json")}))
        return one_line(_refused(error)), exits.OF_PROBLEM.get(error.problem.code, exits.MISTAKE)
    if isinstance(error, GatewayUnreachable):
        return one_line(str(error)), exits.UNREACHABLE
    if isinstance(error, OpsgateError):
        return one_line(str(error)), exits.MISTAKE if isinstance(error, Mistake) else exits.FAILED
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return one_line(f"{'.'.join(map(str, first['loc']))}: {first['msg']}. Change it and try again."), exits.MISTAKE
    if isinstance(error, OSError):
        return one_line(f"{error.filename or 'output'}: {error.strerror or error}. Check the path."), exits.MISTAKE
    kind = type(error).__name__
    return one_line(
        f"A defect of opsgate itself ({kind}: {error}). Set OPSGATE_DEBUG=1 to see where, and report it."
    ), exits.FAILED


def _refused(error: GatewayRefused) -> str:
    problem = error.problem
    parts = [problem.detail, *problem.errors]
    if problem.suggestion:
        parts.append(f"Try: {problem.suggestion}")
    elif problem.examples:
        parts.append(f"For example: {problem.examples[0]}")
    if error.retry_after_s:
        parts.append(f"Try again in {error.retry_after_s:g} s.")
    return " ".join(parts)
