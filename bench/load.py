"""A small HTTP/1.1 load generator on kept connections, so that the measuring costs little beside what is measured."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Measured:
    """`per_second`: answers a second; latencies in milliseconds, sorted."""

    per_second: float
    latencies_ms: list[float]
    statuses: dict[int, int]

    def quantile(self, q: float) -> float:
        return self.latencies_ms[min(len(self.latencies_ms) - 1, int(q * len(self.latencies_ms)))]


def post(url: str, body: object, token: str, key: str) -> bytes:
    parts = urlsplit(url)
    data = json.dumps(body).encode()
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {token}\r\nIdempotency-Key: {key}\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


async def run(url: str, messages: list[bytes], concurrency: int) -> Measured:
    """Sends every message once, `concurrency` at a time. Raises OSError or ValueError when the server misbehaves."""
    parts = urlsplit(url)
    todo = iter(messages)
    latencies: list[float] = []
    statuses: dict[int, int] = {}
    began = time.perf_counter()
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    await asyncio.gather(*(_lane(host, port, todo, latencies, statuses) for _ in range(concurrency)))
    took = time.perf_counter() - began
    return Measured(len(messages) / took, sorted(latencies), statuses)


async def _lane(host: str, port: int, todo: Iterator[bytes], latencies: list[float], statuses: dict[int, int]) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        for message in todo:
            sent = time.perf_counter()
            writer.write(message)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
            await reader.readexactly(length)
            latencies.append((time.perf_counter() - sent) * 1000)
            status = int(head[9:12])
            statuses[status] = statuses.get(status, 0) + 1
    finally:
        writer.close()
