"""What the fleet looks like on its first start: three services in two environments, and the versions that exist."""

from __future__ import annotations

from sandbox.plans import Deployment, Replica

ENVIRONMENTS = ("staging", "production")
MAX_REPLICAS = 20
REPLICAS = 3

VERSIONS: dict[str, tuple[str, ...]] = {
    "api-service": ("1.4.0", "1.4.1", "1.4.2", "1.5.0-rc1"),
    "web-shop": ("2.7.3", "2.8.0", "2.8.1", "3.0.0-beta1"),
    "ledger": ("0.9.7", "0.9.8", "1.0.0"),
}
LIVE = {"api-service": "1.4.1", "web-shop": "2.8.0", "ledger": "0.9.8"}


def deployments(now: float) -> list[Deployment]:
    """Every service in every environment, live on its LIVE version, with the one before it to go back to."""
    return [_deployment(service, environment, now) for service in VERSIONS for environment in ENVIRONMENTS]


def _deployment(service: str, environment: str, now: float) -> Deployment:
    live = LIVE[service]
    known = VERSIONS[service]
    return Deployment(
        service=service,
        environment=environment,
        version=live,
        previous_version=known[known.index(live) - 1],
        schema_version=live,
        replicas=tuple(Replica(f"{service}-{n + 1}", live, "healthy", now) for n in range(REPLICAS)),
    )
