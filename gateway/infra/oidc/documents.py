"""JSON documents of somebody else, kept fresh: an identity provider's description of itself, and its public keys.

Refuses http beyond this machine, redirects, anything but a small JSON object, and a copy that is older than an hour.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import ssl
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import httpx2
import structlog

from gateway.domain.errors import Unavailable
from opsgate.contracts.problems import Code

log = structlog.get_logger("opsgate.oidc")
T = TypeVar("T")
FRESH_S = 300.0
"""For so long nobody asks again."""
OLDEST_S = 3600.0
"""What is older counts no more, whatever keeps us from getting a new one."""
COOL_DOWN_S = 30.0
"""At most one look in this time for what is not in a document, however often it is asked for."""
RETRY_S = 5.0
DEADLINE_S = 3.0
MAX_SIZE = 512 * 1024


class NotThere(Unavailable):
    """There is no copy that may be used. `why` is for the operator's log."""

    def __init__(self, why: str) -> None:
        words = "The identity provider cannot be asked, so nobody can be proven by it now. Try again in a moment."
        super().__init__(Code.SIGN_IN_UNAVAILABLE, words)
        self.why = why


def is_private_enough(url: str) -> bool:
    """https, or http that does not leave this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    if parts.scheme == "https":
        return bool(host) and not parts.username
    return parts.scheme == "http" and is_loopback(host)


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def fetch(url: str, token: str = "") -> dict[str, Any]:
    """A JSON object from `url`. Raises NotThere within DEADLINE_S."""
    headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    # The system's certificates, among which a company's own may be; never a proxy or a password of the environment.
    client = httpx2.AsyncClient(verify=ssl.create_default_context(), trust_env=False, follow_redirects=False)
    try:
        async with asyncio.timeout(DEADLINE_S), client, client.stream("GET", url, headers=headers) as answer:
            if answer.status_code != 200:
                raise NotThere(f"{url} answered {answer.status_code}")
            body = b""
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > MAX_SIZE:
                    raise NotThere(f"{url} answered with more than {MAX_SIZE // 1024} KiB")
        found = json.loads(body)
    except TimeoutError:
        raise NotThere(f"{url} did not answer within {DEADLINE_S:g} s") from None
    except (httpx2.HTTPError, OSError, ValueError, RecursionError) as error:
        raise NotThere(f"{url}: {type(error).__name__}") from None
    if not isinstance(found, dict):
        raise NotThere(f"{url} answered with something else than a JSON object")
    return found


class Document(Generic[T]):
    """One document as `read` makes of it. `read` raises ValueError for a bad one, and then the old one is kept.

    A copy in use is replaced in the background; nobody who has what they need waits for a fetch.
    """

    def __init__(
        self, url: str, read: Callable[[dict[str, Any]], T], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Raises ValueError when `url` is not one to be trusted."""
        if not is_private_enough(url):
            raise ValueError(f"{url[:200]} must be an https:// address")
        self.url = url
        self._read = read
        self._clock = clock
        self._value: T | None = None
        self._at = 0.0
        self._tried: float | None = None
        self._missed: float | None = None
        self._problem = ""
        self._running: asyncio.Task[None] | None = None

    async def now(self) -> T:
        """The document, at most OLDEST_S old. Raises NotThere."""
        age = self._clock() - self._at
        if self._value is None or age >= OLDEST_S:
            await self._look(RETRY_S)
            if self._value is None or self._clock() - self._at >= OLDEST_S:
                raise NotThere(self._problem or f"{self.url} cannot be had")
        elif age >= FRESH_S:
            self._begin(COOL_DOWN_S)
        return self._value

    async def again(self) -> T:
        """The same for somebody who misses something in it: fetched anew, but only once in COOL_DOWN_S for all."""
        if self._missed is None or self._clock() - self._missed >= COOL_DOWN_S:
            self._missed = self._clock()
            await self._look(0)
        elif self._running is not None and not self._running.done():
            await asyncio.wait((self._running,))  # perhaps it brings what is missed
        return await self.now()

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _look(self, pause_s: float) -> None:
        running = self._begin(pause_s)
        if running is not None:
            await asyncio.wait((running,))  # who gives up waiting does not stop it for the others

    def _begin(self, pause_s: float) -> asyncio.Task[None] | None:
        """The fetch under way, begun if there is none and the last was not just now."""
        if self._running is None or self._running.done():
            if self._tried is not None and self._clock() - self._tried < pause_s:
                return None
            self._tried = self._clock()
            self._running = asyncio.create_task(self._fetch(), name=f"fetch {self.url}")
        return self._running

    async def _fetch(self) -> None:
        began = self._clock()
        try:
            self._value = self._read(await fetch(self.url))
        except (NotThere, ValueError) as problem:
            self._problem = problem.why if isinstance(problem, NotThere) else f"{self.url}: {problem}"
            log.warning("document_not_read", url=self.url, why=self._problem)
        else:
            self._at, self._problem = began, ""
