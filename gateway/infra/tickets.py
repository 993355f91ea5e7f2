"""Change tickets kept in a YAML file: `OPS-12: {state: approved}`. A tracker's REST API would stand here the same way.

Read again when the file changes, so that an approval given elsewhere counts at the next decision. Never raises.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import structlog
import yaml

from opsgate.contracts.policy import Ticket

log = structlog.get_logger("opsgate.gateway")


class FileTracker:
    """See `gateway.domain.ports.Tracker`. `path` None: no tracker is set up, so no ticket is ever verified."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._read: tuple[int, dict[str, Any]] = (0, {})

    async def find(self, ticket: str, now_ns: int) -> Ticket:
        found = (await asyncio.to_thread(self._tickets)).get(ticket)
        state = found.get("state") if isinstance(found, dict) else None
        if not isinstance(state, str):
            return Ticket(system="file", id=ticket, state="", verified=False, verified_at_ns=0)
        return Ticket(system="file", id=ticket, state=state.lower(), verified=True, verified_at_ns=now_ns)

    def _tickets(self) -> dict[str, Any]:
        if self._path is None:
            return {}
        try:
            changed_ns = self._path.stat().st_mtime_ns
            if changed_ns != self._read[0]:
                read = yaml.safe_load(self._path.read_text()) or {}
                self._read = (changed_ns, read if isinstance(read, dict) else {})
        except (OSError, ValueError, yaml.YAMLError) as error:
            log.warning("tickets_unreadable", error=type(error).__name__)
            return {}  # what cannot be read is not verified
        return self._read[1]
