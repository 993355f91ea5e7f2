"""What the fleet shows of itself: version and health, log lines, Prometheus text. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from zlib import crc32

from sandbox.plans import Deployment

LINE_EVERY_S = 2
PATHS = ("/health", "/orders", "/orders/42", "/payments", "/search?q=tea")


def view(deployment: Deployment) -> dict[str, Any]:
    """One service in one environment, with its health in a word: healthy, degraded or down."""
    healthy = sum(replica.health == "healthy" for replica in deployment.replicas)
    health = "healthy" if healthy == len(deployment.replicas) and healthy else "degraded" if healthy else "down"
    return {
        **deployment.to_json(),
        "replicas": [
            {**replica, "started_at": stamp(replica["started_at"])} for replica in deployment.to_json()["replicas"]
        ],
        "health": health,
        "healthy_replicas": healthy,
    }


def rollout_view(rollout: dict[str, Any]) -> dict[str, Any]:
    """What the world sees of a rollout: times as RFC 3339, nothing of what has not happened yet."""
    shown = ("id", "kind", "service", "environment", "params", "correlation_id", "state", "percent", "text")
    return {
        **{name: rollout[name] for name in shown},
        "from_version": rollout["before"]["version"],
        "steps": [{"at": stamp(step["at"]), "text": step["text"]} for step in rollout["steps"]],
        "started_at": stamp(rollout["started_at"]),
        "finished_at": stamp(rollout["finished_at"]) if rollout["finished_at"] else None,
    }


def log_lines(
    deployment: Deployment, rollouts: Iterable[dict[str, Any]], now: float, wanted: int
) -> list[dict[str, str]]:
    """The last `wanted` lines, oldest first, each `at` (RFC 3339) and `text`: made-up traffic, and rollout steps."""
    entries = [
        (step["at"], f"NOTICE {step['text']}")
        for rollout in rollouts
        if (rollout["service"], rollout["environment"]) == (deployment.service, deployment.environment)
        for step in rollout["steps"]
    ]
    last = int(now // LINE_EVERY_S)
    entries += [(n * LINE_EVERY_S, _traffic(deployment, n)) for n in range(last - wanted, last) if deployment.replicas]
    return [{"at": stamp(at), "text": text} for at, text in sorted(entries)[-wanted:]] if wanted else []


def metrics(deployments: list[Deployment], rollouts: Iterable[dict[str, Any]], born: float, now: float) -> str:
    """Prometheus text format 0.0.4."""
    out: list[str] = []

    def family(name: str, kind: str, help_text: str, samples: Iterable[tuple[dict[str, str], float]]) -> None:
        out.append(f"# HELP {name} {help_text}")
        out.append(f"# TYPE {name} {kind}")
        for labels, value in samples:
            marks = ",".join(f'{key}="{text}"' for key, text in labels.items())
            out.append(f"{name}{{{marks}}} {float(value)}")

    seen = [(_labels(deployment), view(deployment), deployment) for deployment in deployments]
    age = max(0.0, now - born)
    family(
        "fleet_up", "gauge", "1 if at least one replica is healthy.", [(n, v["health"] != "down") for n, v, _ in seen]
    )
    family("fleet_replicas", "gauge", "Replicas wanted.", [(n, len(d.replicas)) for n, _, d in seen])
    family("fleet_replicas_healthy", "gauge", "Replicas healthy.", [(n, v["healthy_replicas"]) for n, v, _ in seen])
    family("fleet_requests_total", "counter", "Requests answered.", [(n, int(age * _rate(d))) for n, _, d in seen])
    family(
        "fleet_request_errors_total",
        "counter",
        "Requests answered with an error.",
        [(n, int(age * _rate(d) / 50)) for n, _, d in seen],
    )
    family("fleet_cpu_ratio", "gauge", "CPU in use, 0 to 1.", [(n, _cpu(d, now)) for n, _, d in seen])
    family("fleet_build_info", "gauge", "Version live.", [({**n, "version": d.version}, 1) for n, _, d in seen])
    counts: dict[tuple[str, str, str, str], int] = {}
    for rollout in rollouts:
        key = (rollout["service"], rollout["environment"], rollout["kind"], rollout["state"])
        counts[key] = counts.get(key, 0) + 1
    names = ("service", "environment", "kind", "state")
    family(
        "fleet_rollouts",
        "gauge",
        "Of the last hundred rollouts.",
        [(dict(zip(names, key, strict=True)), count) for key, count in counts.items()],
    )
    return "\n".join(out) + "\n"


def stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _labels(deployment: Deployment) -> dict[str, str]:
    return {"service": deployment.service, "environment": deployment.environment}


def _traffic(deployment: Deployment, n: int) -> str:
    dice = crc32(f"{deployment.service}{deployment.environment}{n}".encode())
    replica = deployment.replicas[dice % len(deployment.replicas)].name
    status = 500 if dice % 50 == 0 else 200
    return f"{'ERROR' if status == 500 else 'INFO'} {replica} GET {PATHS[dice % len(PATHS)]} {status} {dice % 90 + 3}ms"


def _rate(deployment: Deployment) -> float:
    """Requests a second; fixed for a service, less in staging."""
    base = 40 + crc32(deployment.service.encode()) % 60
    return base if deployment.environment == "production" else base / 10


def _cpu(deployment: Deployment, now: float) -> float:
    return round(0.2 + (crc32(f"{deployment.service}{int(now // 15)}".encode()) % 400) / 1000, 3)
