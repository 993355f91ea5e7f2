"""The one error of the fleet: an HTTP status and words that say what to do."""

from __future__ import annotations


class FleetError(Exception):
    """Answered as `status` with `{"detail": detail, **more}`."""

    def __init__(self, status: int, detail: str, **more: object) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.more = more
