"""`make bench`: prints a table, keeps bench/results.json and the table in docs/performance.md."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import tempfile
import time
import uuid
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2

from bench import help as helping
from bench import hostile, load, rig
from gateway.domain.arguments import parse
from gateway.domain.deciding import Facts, policy_input
from gateway.domain.directory import Asker
from gateway.flows.drafting import draft
from gateway.infra.files import load_catalog, load_directory
from gateway.infra.opa import OpaPolicy
from opsgate.contracts.base import Assurance
from opsgate.contracts.invocations import ChatContext
from opsgate.contracts.policy import Recent

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results.json"
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
CONCURRENCY = (1, 16, 64)
PEOPLE = (10, 1_000, 100_000)
QUIET = Recent(
    by_subject_1h=0, same_command_24h=0, running_on_resource=0, pending_by_subject=0, rejected_s=None, open_reviews=0
)
BODY = {"command": "status", "args": {"service": "api-service", "environment": "staging"}}


def messages(url: str, token: str, count: int) -> list[bytes]:
    return [load.post(url, BODY, token, uuid.uuid4().hex) for _ in range(count)]


async def submits(house: rig.Rig, rounds: int, size: int) -> dict[str, Any]:
    """Interleaved rounds: null, gate, null, gate, … at each concurrency; medians."""
    gate_url = house.gate_url + "/v1/invocations"
    figures: dict[str, Any] = {}
    for concurrency in CONCURRENCY:
        count = size if concurrency > 1 else size // 2
        rows: dict[str, list[load.Measured]] = {"null": [], "gate": []}
        for _ in range(rounds):
            for name, url in (("null", house.null_url), ("gate", gate_url)):
                rows[name].append(await load.run(url, messages(url, house.token, count), concurrency))
            await drained(house)
        for name in rows:
            bad = {s for m in rows[name] for s in m.statuses} - {202}
            if bad:
                raise SystemExit(f"{name} answered {bad} at c={concurrency}; the figures would mean nothing")
        null, gate = (statistics.median(m.per_second for m in rows[n]) for n in ("null", "gate"))
        figures[f"c{concurrency}"] = {
            "null_per_s": round(null),
            "gate_per_s": round(gate),
            "ratio": round(gate / null, 3),
            "gate_p50_ms": round(statistics.median(m.quantile(0.5) for m in rows["gate"]), 2),
            "gate_p99_ms": round(statistics.median(m.quantile(0.99) for m in rows["gate"]), 2),
            "null_p50_ms": round(statistics.median(m.quantile(0.5) for m in rows["null"]), 2),
            "null_p99_ms": round(statistics.median(m.quantile(0.99) for m in rows["null"]), 2),
        }
    return figures


async def drained(house: rig.Rig) -> None:
    """Waits until the worker has done what a round left, so that it does not run into the next one's figures."""
    headers = {"Authorization": f"Bearer {house.token}"}
    async with httpx2.AsyncClient(base_url=house.gate_url, headers=headers, trust_env=False, timeout=10) as client:
        for state in ("queued", "running"):
            for _ in range(600):
                left = await client.get("/v1/invocations", params={"state": state, "limit": 1})
                if not left.json()["items"]:
                    break
                await asyncio.sleep(0.1)
            else:
                raise SystemExit(f"The worker still has {state} Jobs after a minute; look at its log.")


async def starts(house: rig.Rig, count: int) -> dict[str, float]:
    """Milliseconds from the answer being durable to the worker's claim, one at a time, by the gateway's own clock."""
    headers = {"Authorization": f"Bearer {house.token}"}
    waited = []
    async with httpx2.AsyncClient(base_url=house.gate_url, headers=headers, trust_env=False, timeout=10) as client:
        for _ in range(count):
            sent = await client.post("/v1/invocations", json=BODY, headers={"Idempotency-Key": uuid.uuid4().hex})
            shown = sent.json()
            for _ in range(400):
                shown = (await client.get(f"/v1/invocations/{shown['id']}")).json()
                if shown["job"]["started_at"]:
                    break
                await asyncio.sleep(0.01)
            job = shown["job"]
            waited.append((_seconds(job["started_at"]) - _seconds(job["queued_at"])) * 1000)
    waited.sort()
    return {"p50": round(waited[len(waited) // 2], 1), "p99": round(waited[int(len(waited) * 0.99)], 1)}


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


async def decisions(opa_url: str, folder: Path, people: int, count: int) -> dict[str, float]:
    """Milliseconds of one decision, one at a time, through the gateway's own door to a real OPA."""
    directory = load_directory(rig.directory(folder, people))
    catalog = load_catalog(ROOT / "commands")
    alice = directory.person("alice")
    if alice is None:
        raise SystemExit("the practice directory has no Alice any more")
    who = Asker(principal=alice, assurance=Assurance.OIDC, method="token", platform="rest")
    asked = parse("deploy production api-service --version 1.4.2", catalog, directory)

    class Clock:
        def now_ns(self) -> int:
            return time.time_ns()

    class House:
        tenant, clock = "acme", Clock()

    House.directory = directory  # type: ignore[attr-defined]
    inv = draft(House(), asked, who, ChatContext(), "")  # type: ignore[arg-type]
    policy = OpaPolicy(opa_url, 5.0)
    await policy.open()
    taken = []
    try:
        for _ in range(count):
            facts = Facts("acme", time.time_ns(), ("UTC",), policy.revision, None, (), QUIET, None)
            document = policy_input(inv, "request", directory, facts)
            began = time.perf_counter()
            result = await policy.decide(document)
            taken.append((time.perf_counter() - began) * 1000)
            if result.answer is None:
                raise SystemExit(f"OPA gave no decision: {result.failure}")
    finally:
        await policy.close()
    taken.sort()
    return {"p50": round(taken[count // 2], 3), "p99": round(taken[int(count * 0.99)], 3)}


async def measure_submit(quick: bool) -> dict[str, Any]:
    rounds, size, single = (1, 60, 20) if quick else (5, 400, 100)
    with tempfile.TemporaryDirectory() as name, rig.running(Path(name)) as house:
        start = await starts(house, single)
        submit = await submits(house, rounds, size)
    return {"rounds": rounds, "submit": submit, "start_ms": start}


async def measure_decisions(quick: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name, ExitStack() as parts:
        folder = Path(name)
        server = rig.opa(parts, folder)
        people = PEOPLE[:2] if quick else PEOPLE
        decision = {str(n): await decisions(server.url, folder, n, 50 if quick else 500) for n in people}
    return {"decision_ms_by_people": decision}


async def measure_hostile(quick: bool) -> dict[str, Any]:
    return {"hostile": hostile.measure(1 if quick else hostile.ROUNDS)}


async def measure_help(quick: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        return {"help": await helping.measure(Path(name), 3 if quick else helping.ROUNDS)}


SECTIONS = {
    "submit": measure_submit,
    "decisions": measure_decisions,
    "hostile": measure_hostile,
    "help": measure_help,
}


def machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


async def measure(sections: list[str], quick: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"machine": machine()}
    for section in sections:
        found |= await SECTIONS[section](quick)
    return found


def kept() -> dict[str, Any]:
    """The figures of the last run. Raises SystemExit when another machine made them: the two must not be mixed."""
    found: dict[str, Any] = json.loads(RESULTS.read_text())
    if found["machine"] != machine():
        raise SystemExit(f"The kept figures are of another machine ({found['machine']}); measure all: make bench")
    return found


def table(found: dict[str, Any]) -> str:
    """The figures as Markdown; a section that was not measured is left out."""
    lines = [f"Measured on {found['machine']}, by `make bench`."]
    if "submit" in found:
        lines += ["", *submit_table(found)]
    if "decision_ms_by_people" in found:
        lines += ["", "| people in the directory | decision p50 ms | p99 ms |", "| --- | --- | --- |"]
        lines += [f"| {int(n):,} | {d['p50']} | {d['p99']} |" for n, d in found["decision_ms_by_people"].items()]
    if "hostile" in found:
        lines += ["", *hostile.table(found["hostile"])]
    if "help" in found:
        lines += ["", *helping.table(found["help"])]
    return "\n".join(lines)


def submit_table(found: dict[str, Any]) -> list[str]:
    lines = [
        "| at once | no gate, answers/s | full gate, answers/s | ratio | gate p50 / p99 ms | no gate p50 / p99 ms |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, f in found["submit"].items():
        lines.append(
            f"| {name[1:]} | {f['null_per_s']} | {f['gate_per_s']} | **{f['ratio']}** | "
            f"{f['gate_p50_ms']} / {f['gate_p99_ms']} | {f['null_p50_ms']} / {f['null_p99_ms']} |"
        )
    start = found["start_ms"]
    return [
        *lines,
        "",
        f"Medians of {found['rounds']} interleaved rounds. "
        f"From the answer to the worker's claim: p50 {start['p50']} ms, p99 {start['p99']} ms.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", choices=SECTIONS, help="measure this section; the figures of the others are kept")
    parser.add_argument("--quick", action="store_true", help="a look at whether it runs; keeps nothing")
    options = parser.parse_args()
    before = kept() if options.only and not options.quick else {}
    found = before | asyncio.run(measure([options.only] if options.only else list(SECTIONS), options.quick))
    print(table(found))
    if not options.quick:
        keep(found)


def keep(found: dict[str, Any]) -> None:
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    page = PAGE.read_text()
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{table(found)}\n{END}{after}")


if __name__ == "__main__":
    main()
