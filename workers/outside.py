"""How connectors speak HTTP to an outside system: time limits, few retries, a size cap, and honest errors.

Refuses proxies from the environment, redirects (they would carry credentials elsewhere) and a repeated POST.
"""

from __future__ import annotations

import random
import re
import time
import weakref
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import httpx2
from opentelemetry import propagate, trace
from pydantic import BaseModel

from opsgate.connectors import Cancelled, ConnectorError, Handle, Operation, OutsideUnreachable, Result, Run
from workers.telemetry import tracer

TIMEOUT = httpx2.Timeout(10, connect=3, pool=5)
MAX_ANSWER = 1024 * 1024
ATTEMPTS = 3
FIRST_PAUSE_S = 0.2
BUSY = (429, 502, 503, 504)

Input = TypeVar("Input", bound=BaseModel)


class Refused(ConnectorError):
    """A 4xx answer. `status` and the JSON `body` (empty if it was none) say more than the text."""

    def __init__(self, text: str, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(text)
        self.status = status
        self.body = body


class Outside:
    """One outside system at `url`; `name` is what people call it. Connects at the first call. Safe across threads."""

    def __init__(self, name: str, url: str, *, timeout: httpx2.Timeout = TIMEOUT) -> None:
        """Raises ValueError for an address that is not http:// or https://."""
        if not re.match(r"https?://[^/\s]", url):
            raise ValueError(f"{name} cannot be at {url!r}; give an address that begins with http:// or https://.")
        self._name = name
        self._url = url.rstrip("/")
        self._client = httpx2.Client(timeout=timeout, trust_env=False, follow_redirects=False)
        # Connectors have no end of their own, so connections are closed with the last of them.
        weakref.finalize(self, self._client.close)

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Raises Refused on 4xx, OutsideUnreachable when there is no usable answer after a few tries."""
        return self._call("GET", path, params=query)

    def post(self, path: str, *, json: Any = None, form: Mapping[str, str] | None = None) -> dict[str, Any]:
        """As `get`, but sent again only if no connection was made at all."""
        return self._call("POST", path, json=json, data=form)

    def _call(self, method: str, path: str, **kwargs: Any) -> dict[str, Any]:
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS
            try:
                response, body = self._once(method, path, **kwargs)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                if last:
                    raise OutsideUnreachable(f"No connection to {self._name} at {self._url}.") from error
            except httpx2.TimeoutException as error:
                raise OutsideUnreachable(f"{self._name} did not answer in time.") from error
            except httpx2.HTTPError as error:
                raise OutsideUnreachable(f"{self._name} broke off its answer ({type(error).__name__}).") from error
            else:
                if response.is_success:
                    return body
                busy = response.status_code in BUSY
                if last or not busy or method != "GET":
                    raise self._refusal(response, body)
            time.sleep(FIRST_PAUSE_S * 2 ** (attempt - 1) * random.uniform(0.5, 1))
        raise AssertionError("the last attempt returns or raises")

    def _once(self, method: str, path: str, **kwargs: Any) -> tuple[httpx2.Response, dict[str, Any]]:
        size, chunks = 0, []
        # Neither path nor error is put into the span: either may hold what was asked.
        with tracer().start_as_current_span(
            f"{method} {self._name}", kind=trace.SpanKind.CLIENT, record_exception=False, set_status_on_exception=False
        ) as span:
            headers: dict[str, str] = {}
            propagate.inject(headers)
            with self._client.stream(method, self._url + path, headers=headers, **kwargs) as response:
                span.set_attribute("http.response.status_code", response.status_code)
                for chunk in response.iter_bytes():
                    size += len(chunk)
                    if size > MAX_ANSWER:
                        raise OutsideUnreachable(f"{self._name} answered with more than {MAX_ANSWER // 1024} KiB.")
                    chunks.append(chunk)
        answer = httpx2.Response(response.status_code, content=b"".join(chunks))
        try:
            body = answer.json()
        except ValueError:
            body = None
        if answer.is_success and not isinstance(body, dict):
            raise OutsideUnreachable(f"{self._name} answered something that is not a JSON object.")
        return answer, body if isinstance(body, dict) else {}

    def _refusal(self, response: httpx2.Response, body: Mapping[str, Any]) -> ConnectorError:
        status = response.status_code
        detail = str(body.get("detail") or body.get("error") or f"it answered {status}")[:500]
        if 400 <= status < 500 and status != 408:
            return Refused(detail, status, body)
        return OutsideUnreachable(f"{self._name} is in trouble: {detail} (status {status}).")


class Reading(Operation[Input]):
    """The base of operations that only look: nothing to find again, nothing to stop; `follow` does the looking."""

    idempotent: ClassVar[bool] = True

    def probe(self, run: Run, input: Input) -> Handle | None:
        return None

    def start(self, run: Run, input: Input) -> Handle:
        return {}

    def cancel(self, run: Run, input: Input, handle: Handle) -> Result:
        return Cancelled("It was stopped; nothing was changed.")
