"""How long `help` and completion take with a large catalog, and how much longer a denial takes that teaches.

The store on disk and OPA are real; only the clock is moved on, so that nothing is remembered.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

from bench import rig
from gateway.domain.arguments import Options
from gateway.domain.catalog import Catalog
from gateway.domain.directory import Asker
from gateway.domain.invocation import Invocation
from gateway.flows import explain, teach
from gateway.flows.drafting import Ask, draft, understand
from gateway.flows.folk import Folk
from gateway.flows.gate import Gate
from gateway.infra.files import load_catalog, load_directory
from gateway.infra.opa import OpaPolicy
from gateway.infra.store import migrate
from gateway.infra.store.store import SqlStore
from gateway.infra.tickets import FileTracker
from opsgate.contracts.base import Assurance
from opsgate.contracts.invocations import ChatContext

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = 200
ROUNDS = 15
LINE = "scale production web-shop 30"
"""Denied to Alice for two reasons, so that as much as possible is tried."""


class Clock:
    """Moves on by an hour when asked to, so that nothing is remembered."""

    ahead_ns = 0

    def now_ns(self) -> int:
        return time.time_ns() + self.ahead_ns

    def forget(self) -> None:
        self.ahead_ns += 3_600 * 10**9


def catalog(count: int) -> Catalog:
    """The practice commands again and again under other names."""
    known = load_catalog(ROOT / "commands").commands
    made = [known[n % len(known)].model_copy(update={"name": f"c{n}", "aliases": ()}) for n in range(count)]
    return Catalog(commands=(*known, *made)[:count])


async def measure(folder: Path, rounds: int = ROUNDS) -> dict[str, Any]:
    """Milliseconds, medians; `questions`: decisions in each POST."""
    with ExitStack() as parts:
        server = rig.opa(parts, folder)
        migrate.upgrade(f"sqlite:///{folder / 'opsgate.db'}")
        store = SqlStore(f"sqlite:///{folder / 'opsgate.db'}", "bench", [])
        parts.callback(store.close)
        policy, clock = OpaPolicy(server.url, 5.0), Clock()
        await policy.open()
        try:
            return await _measured(_gate(store, policy, clock), clock, rounds)
        finally:
            await policy.close()


def _gate(store: SqlStore, policy: OpaPolicy, clock: Clock) -> Gate:
    directory, commands = load_directory(ROOT / "examples" / "acme" / "directory.yaml"), catalog(COMMANDS)
    unused = cast(Any, None)  # nothing is run, so nobody is woken
    return Gate(
        tenant="acme",
        zones=("UTC",),
        store=store,
        policy=policy,
        dispatcher=unused,
        tickets=unused,
        tracker=FileTracker(None),
        limits=unused,
        bus=unused,
        clock=clock,
        catalog=lambda: commands,
        folk=Folk(store, lambda: directory, clock),
    )


async def _measured(gate: Gate, clock: Clock, rounds: int) -> dict[str, Any]:
    alice = gate.folk.person("alice")
    if alice is None:
        raise SystemExit("the practice directory has no Alice any more")
    who = Asker(principal=alice, assurance=Assurance.OIDC, method="token", platform="rest")
    asked: list[int] = []
    ask_all = gate.ask_all

    async def counted(invs: Any) -> Any:
        asked.append(len(invs))
        return await ask_all(invs)

    gate.ask_all = counted  # type: ignore[method-assign]
    denied = draft(gate, understand(gate, Ask(LINE, None, {}, Options(), ChatContext())), who, ChatContext(), "")

    async def taught() -> Any:
        return await teach.hint(gate, denied, await _decision(gate, denied))

    views = await explain.commands(gate, who)
    questions = list(asked)
    cold = await _median_ms(lambda: explain.commands(gate, who), rounds, clock.forget)
    kept = await _median_ms(lambda: explain.commands(gate, who), rounds, lambda: None)
    plain = await _median_ms(lambda: _decision(gate, denied), rounds, lambda: None)
    hinted = await _median_ms(taught, rounds, lambda: None)
    return {
        "commands": len(views),
        "questions": questions,
        "cold_ms": cold,
        "kept_ms": kept,
        "denial_ms": plain,
        "taught_ms": hinted,
    }


async def _decision(gate: Gate, inv: Invocation) -> Any:
    return (await gate.ask(inv, "request")).decision


async def _median_ms(once: Callable[[], Awaitable[Any]], rounds: int, before: Callable[[], None]) -> float:
    taken = []
    for _ in range(rounds):
        before()
        began = time.perf_counter()
        await once()
        taken.append((time.perf_counter() - began) * 1000)
    return round(sorted(taken)[len(taken) // 2], 2)


def table(found: dict[str, Any]) -> list[str]:
    return [
        "| help and completion | ms |",
        "| --- | --- |",
        f"| {found['commands']} commands in two environments, {' + '.join(map(str, found['questions']))} decisions "
        f"(a POST each) | {found['cold_ms']} |",
        f"| the same again within 5 s | {found['kept_ms']} |",
        f"| a denial's decision | {found['denial_ms']} |",
        f"| the same with its hint | {found['taught_ms']} |",
    ]
