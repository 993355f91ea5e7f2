"""The door to Redis: rate limits and the bell that wakes other gateways' feeds. `fake://`: the same on fakeredis.

Holds nothing that must not be lost. When it is gone, limits are not counted and the feed looks once a second.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from redis import asyncio as aioredis
from redis.exceptions import RedisError

CHANNEL = "opsgate:feed"
PATIENCE_S = 0.25
"""How long a command waits for Redis before it goes on without it."""


def connect(url: str) -> Any:
    """A client for a Redis URL, or one in this process for `fake://`."""
    if url.startswith("fake:"):
        from fakeredis import FakeAsyncRedis

        return FakeAsyncRedis()
    return aioredis.from_url(url, socket_timeout=PATIENCE_S * 4, socket_connect_timeout=PATIENCE_S * 4)


class RedisLimits:
    """See `gateway.domain.ports.Limits`: a fixed window of one minute per person, counted atomically."""

    def __init__(self, client: Any, per_minute: int) -> None:
        self._client = client
        self._per_minute = per_minute

    async def alive(self) -> bool:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._client.ping()
        except (RedisError, OSError, TimeoutError):
            return False
        return True

    async def take(self, subject: str) -> int:
        now = time.time()
        key = f"opsgate:rate:{subject}:{int(now // 60)}"
        try:
            async with asyncio.timeout(PATIENCE_S):
                async with self._client.pipeline(transaction=True) as pipe:
                    count, _ = await pipe.incr(key).expire(key, 120).execute()
        except (RedisError, OSError, TimeoutError):
            return 0
        return 0 if count <= self._per_minute else max(1, int(60 - now % 60))


class RedisBus:
    """See `gateway.domain.ports.Bus`."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._pubsub: Any = None

    async def ring(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._client.publish(CHANNEL, b"1")
        except (RedisError, OSError, TimeoutError):
            pass  # the others look once a second anyway

    async def wait(self, timeout_s: float) -> None:
        """Returns when somebody rang or the time is over."""
        began = time.monotonic()
        try:
            if self._pubsub is None:
                self._pubsub = self._client.pubsub()
                await self._pubsub.subscribe(CHANNEL)
            await self._pubsub.get_message(ignore_subscribe_messages=True, timeout=timeout_s)
        except (RedisError, OSError, TimeoutError):
            self._pubsub = None
            await asyncio.sleep(max(0.0, timeout_s - (time.monotonic() - began)))

    async def close(self) -> None:
        if self._pubsub is not None:
            await self._pubsub.aclose()
        await self._client.aclose()
