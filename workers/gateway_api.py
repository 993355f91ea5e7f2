"""The worker's side of the gateway's worker API: announce, claim, progress, report.

Refuses to wait for ever: every call has a time limit and few retries, and only where a retry cannot do harm.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

import httpx2
import structlog
from opentelemetry import propagate
from pydantic import BaseModel, ValidationError

from opsgate.contracts.jobs import (
    Announce,
    ClaimAnswer,
    ClaimJob,
    JobProgress,
    JobReport,
    ProgressAnswer,
    ReportAnswer,
)

ATTEMPTS = 4
FIRST_PAUSE_S = 0.2
TIMEOUT = httpx2.Timeout(10, connect=3, pool=5)
# Shorter than any server's keep-alive, so that a call never meets a connection that is just being closed.
LIMITS = httpx2.Limits(keepalive_expiry=2)

Answer = TypeVar("Answer", bound=BaseModel)
_log = structlog.get_logger(__name__)


class GatewayTrouble(Exception):
    """The gateway did not answer, refused, or said something this worker does not understand; words for people."""


class Gateway(Protocol):
    """What the runner needs of the gateway. Every method raises GatewayTrouble."""

    def announce(self, offer: Announce) -> None: ...

    def claim(self, claim: ClaimJob) -> ClaimAnswer: ...

    def progress(self, job: str, progress: JobProgress) -> ProgressAnswer: ...

    def report(self, job: str, report: JobReport) -> ReportAnswer: ...


class GatewayApi:
    """Gateway over HTTP. Connects at the first call, so that it may be made before a fork. Safe across threads."""

    def __init__(self, url: str, token: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._url = url.rstrip("/")
        self._client = httpx2.Client(
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            timeout=TIMEOUT,
            limits=LIMITS,
            trust_env=False,
            follow_redirects=False,
        )
        self._sleep = sleep

    def announce(self, offer: Announce) -> None:
        self._post("announce", offer)

    def claim(self, claim: ClaimJob) -> ClaimAnswer:
        return _read(ClaimAnswer, self._post("claims", claim))

    def progress(self, job: str, progress: JobProgress) -> ProgressAnswer:
        return _read(ProgressAnswer, self._post(f"jobs/{job}/progress", progress))

    def report(self, job: str, report: JobReport) -> ReportAnswer:
        return _read(ReportAnswer, self._post(f"jobs/{job}/report", report))

    def close(self) -> None:
        self._client.close()

    def _post(self, path: str, body: BaseModel) -> httpx2.Response:
        """Tries again when no connection was made or the gateway said 503: then nothing can have been done."""
        content = body.model_dump_json()
        headers: dict[str, str] = {}
        propagate.inject(headers)
        url = f"{self._url}/worker/v1/{path}"
        for attempt in range(1, ATTEMPTS + 1):
            try:
                response = self._client.post(url, content=content, headers=headers)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                trouble = f"No connection to the gateway at {self._url} ({error}); check OPSGATE_GATEWAY_URL."
            except httpx2.HTTPError as error:
                raise GatewayTrouble(f"The gateway did not answer {path}: {type(error).__name__}.") from error
            else:
                if response.status_code != 503:
                    return _accepted(response, path)
                trouble = f"The gateway answered 503 to {path}: {response.text[:200]}"
            if attempt < ATTEMPTS:
                _log.debug("gateway.again", path=path, attempt=attempt, why=trouble)
                self._sleep(FIRST_PAUSE_S * 2 ** (attempt - 1) * random.uniform(0.7, 1.3))
        raise GatewayTrouble(trouble)


def _accepted(response: httpx2.Response, path: str) -> httpx2.Response:
    if response.is_success:
        return response
    if response.status_code in (401, 403):
        raise GatewayTrouble("The gateway does not know this worker; give both the same OPSGATE_WORKER_TOKEN.")
    raise GatewayTrouble(f"The gateway answered {response.status_code} to {path}: {response.text[:200]}")


def _read(shape: type[Answer], response: httpx2.Response) -> Answer:
    try:
        return shape.model_validate_json(response.content)
    except ValidationError as error:
        raise GatewayTrouble(
            f"The gateway's {shape.__name__} is not understood; run gateway and workers of one version. {error}"
        ) from error
