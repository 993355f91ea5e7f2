"""A worker's time-boxed hold on one Job: renews it while a call is in flight, carries log lines and progress.

Refuses to call itself held once the gateway said no, or once it was not renewed in time.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from types import TracebackType

import structlog

from opsgate.connectors import Handle
from opsgate.contracts.jobs import ClaimAnswer, JobProgress
from workers.gateway_api import Gateway, GatewayTrouble

MAX_LINES = 500
"""Log lines in one message, by the contract."""
KEPT_LINES = 5000
LINE_LENGTH = 2000

_log = structlog.get_logger(__name__)


class LeaseLost(Exception):
    """Another holds the Job, or may: stop now and report nothing."""


class Lease:
    """Use as a context manager around all work on the Job; renews every third of `lease_s`.

    `since`: when the claim was sent, by `clock`; the gateway counts from later, so this end never holds too long.
    """

    def __init__(
        self,
        gateway: Gateway,
        worker: str,
        job: str,
        claim: ClaimAnswer,
        *,
        since: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gateway = gateway
        self._worker = worker
        self._job = job
        self._fence = claim.fence
        self._lease_s = claim.lease_s
        self._clock = clock
        self._renewed_at = since
        self._refused = False
        self._lines: list[str] = []
        self._lock = threading.Lock()
        self._done = threading.Event()
        context = contextvars.copy_context()
        self._beats = threading.Thread(target=lambda: context.run(self._beat), name=f"lease {job}", daemon=True)
        self.cancel_asked = False
        """Somebody asked to stop this Job; learnt with every renewal."""

    def __enter__(self) -> Lease:
        self._beats.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()

    def check(self) -> None:
        """Raises LeaseLost unless the Job is surely ours at this moment."""
        if self._refused or self._clock() >= self._renewed_at + self._lease_s:
            raise LeaseLost(self._job)

    def log(self, line: str) -> None:
        """One line of output for the team; sent with the next renewal or report."""
        with self._lock:
            if len(self._lines) < KEPT_LINES:
                self._lines.append(line.rstrip("\n")[:LINE_LENGTH])
            elif len(self._lines) == KEPT_LINES:
                self._lines.append("(lines were left out here: too many at once)")

    def tell(self, handle: Handle | None = None) -> None:
        """Send waiting log lines, and the handle to store, now; renews. Trouble is logged: the next may get through."""
        lines = self._take_lines()
        sent_at = self._clock()
        try:
            answer = self._gateway.progress(
                self._job,
                JobProgress(worker=self._worker, fence=self._fence, lines=lines, handle=handle),
            )
        except GatewayTrouble as trouble:
            _log.warning("lease.not_renewed", why=str(trouble))
            with self._lock:
                self._lines[:0] = lines
            return
        self._renewed_at = max(self._renewed_at, sent_at)
        self._refused = self._refused or not answer.held
        self.cancel_asked = self.cancel_asked or answer.cancel

    def _take_lines(self) -> tuple[str, ...]:
        """Up to one message of waiting lines, oldest first."""
        with self._lock:
            taken = self._lines[:MAX_LINES]
            del self._lines[:MAX_LINES]
            return tuple(taken)

    def last_lines(self) -> tuple[str, ...]:
        """The lines for the report; what does not fit into it is sent ahead."""
        while len(self._lines) > MAX_LINES and not self._refused:
            before = len(self._lines)
            self.tell()
            if len(self._lines) >= before:
                break
        return self._take_lines()

    def _beat(self) -> None:
        while not self._done.wait(self._lease_s / 3) and not self._refused:
            self.tell()
