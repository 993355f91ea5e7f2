"""How a rollout goes, step by step: pure, from what is deployed and what is asked to a list of timed steps.

Refuses to know clocks, storage or HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

KINDS = ("deploy", "rollback", "restart", "scale", "migrate")


@dataclass(frozen=True)
class Replica:
    """`health`: healthy, starting or unhealthy. `started_at`: seconds since the epoch."""

    name: str
    version: str
    health: str
    started_at: float


@dataclass(frozen=True)
class Deployment:
    """One service in one environment."""

    service: str
    environment: str
    version: str
    previous_version: str | None
    schema_version: str
    replicas: tuple[Replica, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Deployment:
        return cls(**{**data, "replicas": tuple(Replica(**replica) for replica in data["replicas"])})


@dataclass(frozen=True)
class Step:
    """At `at` (seconds since the epoch) people read `text`, and `after` is what is deployed then."""

    at: float
    text: str
    after: Deployment

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Step:
        return cls(data["at"], data["text"], Deployment.from_json(data["after"]))


def plan(
    kind: str, before: Deployment, *, version: str, replicas: int, start: float, duration_s: float, fails: bool
) -> list[Step]:
    """Steps from `start` to `start + duration_s`; the last one is the outcome in words."""
    changes: dict[str, Callable[[], Iterator[Step]]] = {
        "deploy": lambda: _replacing(before, version, start, duration_s),
        "rollback": lambda: _replacing(before, version, start, duration_s),
        "restart": lambda: _restarting(before, start, duration_s),
        "scale": lambda: _scaling(before, replicas, start, duration_s),
        "migrate": lambda: _migrating(before, version, start, duration_s),
    }
    steps = list(changes[kind]())
    return _failing(before, steps) if fails else steps


def undo(before: Deployment, at: float, why: str) -> Step:
    """The step that puts everything back as it was."""
    return Step(at, f"{why}; {before.service} {before.version} is back as it was.", before)


def _replacing(before: Deployment, version: str, start: float, duration_s: float) -> Iterator[Step]:
    now = before
    for step in _one_by_one(before, version, start, duration_s):
        now = step.after
        yield step
    live = replace(
        now,
        version=version,
        previous_version=before.version if version != before.version else before.previous_version,
    )
    where = f"{before.service} {version} is live in {before.environment}"
    yield Step(start + duration_s, f"{where}.", live)


def _restarting(before: Deployment, start: float, duration_s: float) -> Iterator[Step]:
    now = before
    for step in _one_by_one(before, before.version, start, duration_s):
        now = step.after
        yield step
    yield Step(start + duration_s, f"{before.service} in {before.environment} was restarted, {_count(before)}.", now)


def _one_by_one(before: Deployment, version: str, start: float, duration_s: float) -> Iterator[Step]:
    now = before
    slice_s = duration_s / max(1, len(before.replicas))
    for n, replica in enumerate(before.replicas):
        at = start + n * slice_s
        starting = Replica(replica.name, version, "starting", at)
        now = _with_replica(now, n, starting)
        yield Step(at, f"{replica.name} stops {replica.version} and starts {version}.", now)
        at += 0.9 * slice_s
        now = _with_replica(now, n, replace(starting, health="healthy"))
        yield Step(at, f"{replica.name} is healthy on {version}.", now)


def _scaling(before: Deployment, wanted: int, start: float, duration_s: float) -> Iterator[Step]:
    now, have = before, len(before.replicas)
    slice_s = duration_s / max(1, abs(wanted - have))
    for n in range(abs(wanted - have)):
        at = start + (n + 0.9) * slice_s
        if wanted > have:
            replica = Replica(f"{before.service}-{have + n + 1}", before.version, "healthy", at)
            now = replace(now, replicas=(*now.replicas, replica))
            yield Step(at, f"{replica.name} is healthy on {replica.version}.", now)
        else:
            gone = now.replicas[-1]
            now = replace(now, replicas=now.replicas[:-1])
            yield Step(at, f"{gone.name} finished its requests and stopped.", now)
    yield Step(
        start + duration_s, f"{before.service} in {before.environment} runs {_count(now)} (there were {have}).", now
    )


def _migrating(before: Deployment, version: str, start: float, duration_s: float) -> Iterator[Step]:
    name = f"the {before.service} database in {before.environment}"
    yield Step(start, f"Backing up {name}.", before)
    yield Step(start + duration_s * 0.4, f"Moving {name} from {before.schema_version} to {version}.", before)
    after = replace(before, schema_version=version)
    yield Step(start + duration_s, f"{name[0].upper()}{name[1:]} is at {version}.", after)


def _failing(before: Deployment, steps: list[Step]) -> list[Step]:
    """The first half happens; then a replica stays unhealthy and everything is put back."""
    kept = steps[: max(1, len(steps) // 2)]
    seen = kept[-1].after
    if seen.replicas:
        seen = _with_replica(seen, 0, replace(seen.replicas[0], health="unhealthy"))
    trouble = Step(kept[-1].at, f"{before.service}-1 did not become healthy in time.", seen)
    return [*kept, trouble, undo(before, steps[-1].at, "It did not become healthy, so the rollout was undone")]


def _with_replica(deployment: Deployment, n: int, replica: Replica) -> Deployment:
    return replace(deployment, replicas=(*deployment.replicas[:n], replica, *deployment.replicas[n + 1 :]))


def _count(deployment: Deployment) -> str:
    count = len(deployment.replicas)
    return "1 replica" if count == 1 else f"{count} replicas"
