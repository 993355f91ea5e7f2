"""The composition root: the only place that picks real things for the ports. Reads as what the gateway is."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog

from gateway.domain.catalog import Catalog
from gateway.domain.directory import Directory
from gateway.domain.errors import GateError, Unavailable
from gateway.flows import reconcile, relay
from gateway.flows.feed import FeedHub
from gateway.flows.gate import WORKER_FRESH_NS, Gate
from gateway.infra import jwt, redis
from gateway.infra.broker import CeleryDispatcher
from gateway.infra.files import Watched, load_catalog, load_directory
from gateway.infra.opa import OpaPolicy
from gateway.infra.sinks import make_sinks
from gateway.infra.slack_evidence import SlackEvidence
from gateway.infra.store import migrate
from gateway.infra.store.store import SqlStore
from gateway.infra.telemetry import Telemetry
from gateway.settings import Settings

log = structlog.get_logger("opsgate.gateway")


class CannotStart(Exception):
    """A setting or a part is not right; the text says what to do."""


class SystemClock:
    def now_ns(self) -> int:
        return time.time_ns()


@dataclass
class House:
    """Everything a running gateway holds."""

    settings: Settings
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
    work: asyncio.Event = field(default_factory=asyncio.Event)
    _loops: list[asyncio.Task[None]] = field(default_factory=list)

    async def open(self) -> None:
        await self.policy.open()
        for loop in (self.feed.run, self._relay, self._reconcile, self._refresh):
            self._loops.append(asyncio.create_task(loop(), name=loop.__qualname__))

    async def close(self) -> None:
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await self.policy.close()
        await self.bus.close()
        self.dispatcher.close()
        await asyncio.to_thread(self.store.close)
        self.telemetry.close()

    async def _relay(self) -> None:
        async def once() -> None:
            try:
                while await relay.relay(self.gate):
                    pass
            except Unavailable as problem:
                relay.note(self.gate, problem)
                raise
            relay.note(self.gate, None)

        while True:
            await _survive(once)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.work.wait(), 0.25)
            self.work.clear()

    async def _reconcile(self) -> None:
        while True:
            await asyncio.sleep(1)
            await _survive(lambda: reconcile.reconcile(self.gate))

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(0.5)
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
        checks = {"store": await self._store_check(), "policy": _check(await self.policy.ready())}
        required = all(c["ok"] for c in checks.values())
        checks["policy_files"] = self._policy_files()
        for part in ("catalog", "directory", "broker"):
            checks[part] = _check(self.gate.system.problems.get(part, ""))
        checks["redis"] = _check(
            "" if self.limits.working else "Redis is gone: limits are not counted, feeds are slower"
        )
        checks["workers"] = _check(await self._workers() if checks["store"]["ok"] else "not known")
        self.telemetry.problems.set(sum(not c["ok"] for c in checks.values()))
        return {"ready": required, "revision": self.policy.revision, "checks": checks}

    async def _store_check(self) -> dict[str, Any]:
        try:
            await self.store.alive()
        except GateError as problem:
            return _check(problem.detail)
        return _check("")

    def _policy_files(self) -> dict[str, Any]:
        path = self.settings.policy_status_file
        if path is None:
            return _check("")
        try:
            status = json.loads(path.read_text())
        except (OSError, ValueError):
            return _check("")
        error = status.get("error")
        return _check(f"A policy file is broken, so the old policy stays live: {error}" if error else "")

    async def _workers(self) -> str:
        offers = await self.store.offers()
        now_ns = self.gate.clock.now_ns()
        fresh = {name for name, (_, seen) in offers.items() if now_ns - seen < WORKER_FRESH_NS}
        wanted = {c.operation for c in self.catalog.value.commands if not c.operation.startswith("gateway.")}
        if not fresh:
            return "no worker is running; commands wait until one is"
        lacking = ", ".join(sorted(wanted - fresh))
        return (
            f"no worker offers {lacking}; start one with that connector or correct the command files" if lacking else ""
        )


def _check(problem: str) -> dict[str, Any]:
    return {"ok": not problem, "detail": problem}


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


def build(settings: Settings) -> House:
    """Makes everything. Raises CannotStart with one line that says what to do; BadFiles for broken command files."""
    embedded = settings.profile == "embedded"
    telemetry = Telemetry(settings.node, settings.otlp_endpoint)
    store = _store(settings, embedded)
    keys = _keys(settings, embedded)
    catalog: Watched[Catalog] = Watched(settings.commands_dir, load_catalog)
    directory: Watched[Directory] = Watched(settings.directory_file, load_directory)
    client = redis.connect(settings.redis_url.get_secret_value())
    policy = OpaPolicy(settings.opa_url, settings.opa_deadline_ms / 1000)
    limits, bus = redis.RedisLimits(client, settings.rate_per_minute), redis.RedisBus(client)
    dispatcher = CeleryDispatcher(settings.broker_url.get_secret_value())
    gate = Gate(
        tenant=settings.tenant,
        zones=tuple(z.strip() for z in settings.zones.split(",") if z.strip()),
        store=store,
        policy=policy,
        dispatcher=dispatcher,
        tickets=keys,
        limits=limits,
        bus=bus,
        clock=SystemClock(),
        catalog=lambda: catalog.value,
        directory=lambda: directory.value,
    )
    house = House(
        settings=settings,
        gate=gate,
        store=store,
        policy=policy,
        tokens=jwt.JwtTokens(_issuers(settings, keys, embedded)),
        keys=keys,
        evidence=SlackEvidence(settings.slack_signing_secret.get_secret_value()),
        feed=FeedHub(store, bus),
        telemetry=telemetry,
        catalog=catalog,
        directory=directory,
        limits=limits,
        bus=bus,
        dispatcher=dispatcher,
    )
    _connect(house)
    return house


def _connect(house: House) -> None:
    def changed() -> None:
        house.work.set()
        house.feed.nudge()

    def observe(decision: Any, duration_us: int) -> None:
        house.telemetry.decisions.labels(decision.phase, decision.effect.value).inc()
        house.telemetry.decision_time.observe(duration_us / 1e6)

    house.gate.on_change = changed
    house.gate.observe = observe


def _store(settings: Settings, embedded: bool) -> SqlStore:
    if embedded:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        migrate.upgrade(settings.store_url)
    elif not _is_current(settings):
        raise CannotStart(
            "The database has another version's schema. Run `python -m gateway migrate` with its owner's URL."
        )
    try:
        sinks = make_sinks(settings.audit_log)
    except OSError as error:
        raise CannotStart(f"OPSGATE_AUDIT_LOG {settings.audit_log} cannot be opened ({error.strerror}).") from None
    return SqlStore(settings.store_url, settings.node, sinks)


def _is_current(settings: Settings) -> bool:
    try:
        return migrate.is_current(settings.store_url)
    except Exception as error:
        raise CannotStart(
            f"The database cannot be reached ({type(error).__name__}). Check OPSGATE_DATABASE_URL."
        ) from None


def _keys(settings: Settings, embedded: bool) -> jwt.KeyRing:
    path = settings.signing_key_file or settings.data_dir / "signing-key.pem"
    try:
        return jwt.KeyRing(jwt.load_or_make_key(path, make=embedded), settings.node)
    except (OSError, ValueError, TypeError) as error:
        raise CannotStart(f"The signing key cannot be used: {error}") from None


def _issuers(settings: Settings, keys: jwt.KeyRing, embedded: bool) -> list[jwt.Issuer]:
    issuers = [keys.persona_issuer()] if embedded else []
    if settings.token_issuers_file:
        try:
            issuers += jwt.load_issuers(settings.token_issuers_file)
        except jwt.BadIssuers as error:
            raise CannotStart(str(error)) from None
    return issuers
