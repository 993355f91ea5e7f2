"""A running gateway: its parts, its background loops, and what works of it. Picks nothing: `gateway.wiring` does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import structlog

from gateway.domain.catalog import Catalog
from gateway.domain.directory import Directory
from gateway.domain.errors import GateError, Unavailable
from gateway.domain.identity import IdentityProvider
from gateway.flows import own, reconcile, relay, remind
from gateway.flows.feed import FeedHub
from gateway.flows.gate import WORKER_FRESH_NS, Gate
from gateway.flows.terminals import Polls
from gateway.infra import jwt, redis
from gateway.infra.broker import CeleryDispatcher
from gateway.infra.files import Watched
from gateway.infra.opa import OpaPolicy
from gateway.infra.slack_evidence import SlackEvidence
from gateway.infra.store.store import SqlStore
from gateway.infra.telemetry import Telemetry

REDIS_GONE = "Redis is gone: commands work, but limits are not counted and pages learn of changes a second later"
log = structlog.get_logger("opsgate.gateway")


class Door(Protocol):
    """What must be closed at the end beside the parts the house knows by name."""

    async def close(self) -> None: ...


@dataclass
class House:
    """Everything a running gateway holds."""

    gate: Gate
    store: SqlStore
    policy: OpaPolicy
    tokens: jwt.JwtTokens
    keys: jwt.KeyRing
    evidence: SlackEvidence
    feed: FeedHub
    telemetry: Telemetry
    catalog: Watched[Catalog]
    directory: Watched[Directory]
    limits: redis.RedisLimits
    bus: redis.RedisBus
    dispatcher: CeleryDispatcher
    worker_token: bytes
    policy_status_file: Path | None
    provider: IdentityProvider | None = None
    doors: list[Door] = field(default_factory=list)
    polls: Polls = field(default_factory=Polls)
    work: asyncio.Event = field(default_factory=asyncio.Event)
    _loops: list[asyncio.Task[None]] = field(default_factory=list)

    async def open(self) -> None:
        await self.policy.open()
        for loop in (self.feed.run, self._relay, self._reconcile, self._refresh, self._remind):
            self._loops.append(asyncio.create_task(loop(), name=loop.__qualname__))

    async def close(self) -> None:
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await self.policy.close()
        for door in self.doors:
            await door.close()
        await self.bus.close()
        self.dispatcher.close()
        await asyncio.to_thread(self.store.close)
        self.telemetry.close()

    async def _relay(self) -> None:
        async def once() -> None:
            while await relay.relay(self.gate):
                pass

        while True:
            await _survive(once)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.work.wait(), 0.25)
            self.work.clear()

    async def _reconcile(self) -> None:
        while True:
            await asyncio.sleep(1)
            await _survive(lambda: reconcile.reconcile(self.gate))

    async def _remind(self) -> None:
        while True:
            await asyncio.sleep(30)
            await _survive(lambda: remind.remind(self.gate))

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            await _survive(self.gate.folk.refresh)
            for name, watched in (("catalog", self.catalog), ("directory", self.directory)):
                if watched.refresh():
                    log.info("reloaded", what=name)
                if watched.problems:
                    self.gate.system.problems[name] = (
                        f"The {name} on disk is broken, so the old one stays in force: {'; '.join(watched.problems)}"
                    )
                else:
                    self.gate.system.problems.pop(name, None)

    # ---- readiness --------------------------------------------------------------------------------------------

    async def readiness(self) -> dict[str, Any]:
        """What works: `ready` when commands can be decided and written down."""
        checks = {"store": await _works(self.store.alive()), "policy": _check(await self.policy.ready())}
        required = all(c["ok"] for c in checks.values())
        checks["policy_files"] = self._policy_files()
        for part in ("catalog", "directory"):
            checks[part] = _check(self.gate.system.problems.get(part, ""))
        checks["broker"] = await _works(self.dispatcher.alive())
        checks["redis"] = _check("" if await self.limits.alive() else REDIS_GONE)
        known = checks["store"]["ok"]
        checks["workers"], checks["operations"] = map(_check, await self._workers() if known else ("not known", ""))
        self.telemetry.problems.set(sum(not c["ok"] for c in checks.values()))
        return {"ready": required, "revision": self.policy.revision, "checks": checks}

    def _policy_files(self) -> dict[str, Any]:
        path = self.policy_status_file
        if path is None:
            return _check("")
        try:
            status = json.loads(path.read_text())
        except (OSError, ValueError):
            return _check("")
        error = status.get("error")
        return _check(f"A policy file is broken, so the old policy stays live: {error}" if error else "")

    async def _workers(self) -> tuple[str, str]:
        """What is wrong with the workers, and with what they offer."""
        offers = await self.store.offers()
        now_ns = self.gate.clock.now_ns()
        fresh = {name for name, (_, seen) in offers.items() if now_ns - seen < WORKER_FRESH_NS}
        if not fresh:
            return "no worker is running; commands wait until one is", ""
        wanted = {c.operation for c in self.catalog.value.commands if not own.is_own(c.operation)}
        lacking = ", ".join(sorted(wanted - fresh))
        mend = "start one with that connector or correct the command files"
        return "", f"no worker offers {lacking}; {mend}" if lacking else ""


def _check(problem: str) -> dict[str, Any]:
    return {"ok": not problem, "detail": problem}


async def _works(alive: Awaitable[None]) -> dict[str, Any]:
    try:
        await alive
    except GateError as problem:
        return _check(problem.detail)
    return _check("")


async def _survive(job: Callable[[], Awaitable[Any]]) -> None:
    """A background loop outlives every failure; it says so and goes on."""
    try:
        await job()
    except Unavailable as problem:
        log.warning("part_unavailable", code=problem.code.value, detail=problem.detail)
        await asyncio.sleep(0.5)
    except Exception:
        log.exception("background_loop_failed")
        await asyncio.sleep(0.5)
