"""Tells the gateway again and again what this worker offers.

Refuses to stop for trouble: it says so once and goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any

import structlog

from opsgate.connectors import Operation
from opsgate.contracts.jobs import Announce, OperationOffer
from workers.gateway_api import Gateway, GatewayTrouble

FIRST_RETRY_S = 0.2

_log = structlog.get_logger(__name__)


def offer(worker: str, operations: Iterable[Operation[Any]]) -> Announce:
    """Names, summaries and input schemas of everything this worker can carry out."""
    return Announce(
        worker=worker,
        operations=tuple(
            OperationOffer(
                name=operation.name,
                summary=operation.summary,
                idempotent=operation.idempotent,
                input_schema=operation.input.model_json_schema(),
            )
            for operation in operations
        ),
    )


class Announcer:
    """A context manager: announces at once and then every `every_s` seconds, from a thread of its own."""

    def __init__(self, gateway: Gateway, announce: Announce, every_s: float) -> None:
        self._gateway = gateway
        self._announce = announce
        self._every_s = every_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="announcer", daemon=True)

    def __enter__(self) -> Announcer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join(timeout=1)

    def _go_on(self) -> None:
        heard: bool | None = None
        pause_s = 0.0
        while not self._done.wait(pause_s):
            try:
                self._gateway.announce(self._announce)
            except GatewayTrouble as trouble:
                if heard is not False:
                    _log.warning("announce.failed", why=str(trouble))
                    pause_s = 0.0
                heard = False
                pause_s = min(self._every_s, max(FIRST_RETRY_S, pause_s * 2))
            else:
                if not heard:
                    _log.info("announce.heard", operations=len(self._announce.operations))
                heard = True
                pause_s = self._every_s
