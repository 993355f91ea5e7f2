"""Second places for audit records: JSON lines to the standard output or to a file that is only ever appended to."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from gateway.domain.ports import Sink
from opsgate.contracts.audit import AuditRecord


class LineSink:
    """Writes to an open file descriptor. Raises OSError when it cannot; the next call must bring the same records."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._down = 0

    def write(self, records: list[AuditRecord]) -> None:
        data = "".join(r.model_dump_json() + "\n" for r in records).encode()
        # A disk that fills up takes half a line; the next try goes on from there, so that no line is broken.
        while self._down < len(data):
            self._down += os.write(self._descriptor, data[self._down :])
        self._down = 0


def make_sinks(where: str) -> list[Sink]:
    """`stdout`, a path, or empty. Raises OSError when the file cannot be opened."""
    if not where:
        return []
    if where == "stdout":
        return [LineSink(sys.stdout.fileno())]
    return [LineSink(os.open(Path(where), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640))]
