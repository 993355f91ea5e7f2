"""The orchestrator: what is deployed, and rollouts that move by elapsed time, worked out whenever somebody looks.

Refuses two rollouts of one service at once, and starts nothing twice for one correlation id.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from sandbox import plans, seed
from sandbox.errors import FleetError
from sandbox.faults import EVERY, Faults
from sandbox.plans import Deployment, Step
from sandbox.store import Store

UNDO_S = 0.3


class Fleet:
    """`rollout_s`: how long a rollout takes, seconds. `clock`: seconds since the epoch."""

    def __init__(self, store: Store, rollout_s: float, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._rollout_s = rollout_s
        self._clock = clock

    def now(self) -> float:
        return self._clock()

    def born(self) -> float:
        return self._store.born()

    def deployments(self) -> list[Deployment]:
        self._settle()
        return self._store.deployments()

    def deployment(self, service: str, environment: str) -> Deployment:
        """Raises FleetError 404 with what there is instead."""
        self._settle()
        found = self._store.deployment(service, environment)
        if found:
            return found
        if service in seed.VERSIONS:
            raise FleetError(404, f"There is no environment {environment!r}; there are {', '.join(seed.ENVIRONMENTS)}.")
        near = get_close_matches(service, seed.VERSIONS, n=3)
        raise FleetError(404, f"There is no service {service!r}; there are {', '.join(seed.VERSIONS)}.", near=near)

    def start(self, asked: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """The rollout, and whether it was begun now (False: this correlation id has one already)."""
        _check_shape(asked)
        before = self.deployment(asked["service"], asked["environment"])
        with self._store.transaction():
            self._store.count("asked", asked["correlation_id"])
            existing = self._store.rollout_of(asked["correlation_id"])
            if existing:
                return existing, False
            for other in self._store.active_rollouts():
                if (other["service"], other["environment"]) == (before.service, before.environment):
                    raise FleetError(
                        409,
                        f"{other['kind']} of {before.service} in {before.environment} is in progress"
                        f" ({other['id']}); wait for it or cancel it.",
                        rollout=other["id"],
                    )
            rollout = self._begin(asked, before)
            self._store.put_rollout(rollout, active=True)
            self._store.count("performed", asked["correlation_id"])
        self._settle()
        return self.rollout(rollout["id"]), True

    def rollout(self, rollout_id: str) -> dict[str, Any]:
        self._settle()
        found = self._store.rollout(rollout_id)
        if found is None:
            raise FleetError(404, f"There is no rollout {rollout_id!r}.")
        return found

    def rollouts(self, correlation_id: str | None) -> list[dict[str, Any]]:
        """Newest first; those of one correlation id, or the last hundred."""
        self._settle()
        if correlation_id is None:
            return self._store.rollouts()
        found = self._store.rollout_of(correlation_id)
        return [found] if found else []

    def cancel(self, rollout_id: str) -> dict[str, Any]:
        """Ask it to stop; one that ended stays as it ended. Raises FleetError 409 when it cannot be stopped."""
        rollout = self.rollout(rollout_id)
        if rollout["state"] != "running":
            return rollout
        if rollout["kind"] == "migrate":
            raise FleetError(409, "A migration that has begun cannot be stopped half way; wait for it to end.")
        at = self.now() + UNDO_S
        back = plans.undo(Deployment.from_json(rollout["before"]), at, "The rollout was cancelled")
        rollout.update(state="cancelling", final="cancelled", plan=[back.to_json()], text="Stopping and putting back.")
        with self._store.transaction():
            self._store.put_rollout(rollout, active=True)
        return rollout

    def page(self, asked: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """The page somebody got, and whether they got it now (False: this correlation id paged already)."""
        fields = ("correlation_id", "group", "text")
        if sorted(asked) != sorted(fields) or not all(isinstance(asked[f], str) and asked[f] for f in fields):
            raise FleetError(422, "A page needs correlation_id, group and text, all of them texts.")
        with self._store.transaction():
            self._store.count("asked", asked["correlation_id"])
            existing = self._store.page_of(asked["correlation_id"])
            if existing:
                return existing, False
            page = {**asked, "at": self.now()}
            self._store.put_page(page)
            self._store.count("performed", asked["correlation_id"])
        return page, True

    def pages(self) -> list[dict[str, Any]]:
        return self._store.pages()

    def effects(self) -> dict[str, dict[str, int]]:
        """By correlation id: `effects` starts really performed, `asked` starts asked for."""
        return {"effects": self._store.counts("performed"), "asked": self._store.counts("asked")}

    def faults(self, service: str) -> Faults:
        """Its own faults, else those of every service, else none."""
        all_faults = self._store.faults()
        return Faults(**all_faults.get(service, all_faults.get(EVERY, {})))

    def all_faults(self) -> dict[str, dict[str, Any]]:
        return self._store.faults()

    def put_faults(self, service: str, faults: Faults) -> None:
        if service != EVERY and service not in seed.VERSIONS:
            raise FleetError(404, f"There is no service {service!r}; leave it out to mean every service.")
        self._store.put_faults(service, faults.to_json())

    def clear_faults(self) -> None:
        self._store.clear_faults()

    def _begin(self, asked: dict[str, Any], before: Deployment) -> dict[str, Any]:
        faults = self.faults(before.service)
        now = self.now()
        duration_s = self._rollout_s + faults.slow_s
        steps = plans.plan(
            asked["kind"],
            before,
            version=_version(asked, before),
            replicas=_replicas(asked, before),
            start=now,
            duration_s=duration_s,
            fails=faults.fail_rollout,
        )
        return {
            "id": f"rol_{secrets.token_hex(8)}",
            **{name: asked[name] for name in ("kind", "service", "environment", "params", "correlation_id")},
            "state": "running",
            "final": "failed" if faults.fail_rollout else "succeeded",
            "percent": 0,
            "text": "Starting.",
            "steps": [],
            "started_at": now,
            "ends_at": now + duration_s,
            "finished_at": None,
            "before": before.to_json(),
            "after": before.to_json(),
            "plan": [step.to_json() for step in steps],
        }

    def _settle(self) -> None:
        """Bring every rollout in progress up to now."""
        active = self._store.active_rollouts()
        if active:
            with self._store.transaction():
                for rollout in active:
                    _advance(rollout, self.now())
                    self._store.put_rollout(rollout, active=rollout["finished_at"] is None)
                    self._store.put_deployment(Deployment.from_json(rollout["after"]))


def _advance(rollout: dict[str, Any], now: float) -> None:
    while rollout["plan"] and rollout["plan"][0]["at"] <= now:
        step = Step.from_json(rollout["plan"].pop(0))
        rollout["steps"].append({"at": step.at, "text": step.text})
        rollout["text"] = step.text
        rollout["after"] = step.after.to_json()
        if not rollout["plan"]:
            rollout.update(state=rollout["final"], finished_at=step.at, percent=100)
    if rollout["finished_at"] is None:
        whole = rollout["ends_at"] - rollout["started_at"]
        rollout["percent"] = min(99, int(100 * (now - rollout["started_at"]) / max(whole, 0.001)))


def _check_shape(asked: dict[str, Any]) -> None:
    wrong = [
        f"{name} must be a text"
        for name in ("service", "environment", "correlation_id")
        if not isinstance(asked.get(name), str) or not asked[name]
    ]
    if asked.get("kind") not in plans.KINDS:
        wrong.append(f"kind must be one of {', '.join(plans.KINDS)}")
    if not isinstance(asked.setdefault("params", {}), dict):
        wrong.append("params must be an object")
    if wrong:
        raise FleetError(422, "; ".join(wrong) + ".")


def _version(asked: dict[str, Any], before: Deployment) -> str:
    if asked["kind"] == "rollback":
        if before.previous_version is None:
            raise FleetError(422, f"{before.service} in {before.environment} has no version before {before.version}.")
        return before.previous_version
    if asked["kind"] not in ("deploy", "migrate"):
        return before.version
    wanted = asked["params"].get("version")
    known = seed.VERSIONS[before.service]
    if wanted in known:
        return str(wanted)
    near = get_close_matches(str(wanted), known, n=3, cutoff=0)
    raise FleetError(
        422, f"{before.service} has no version {wanted}; the nearest there are: {', '.join(near)}.", near=near
    )


def _replicas(asked: dict[str, Any], before: Deployment) -> int:
    if asked["kind"] != "scale":
        return len(before.replicas)
    wanted = asked["params"].get("replicas")
    if isinstance(wanted, bool) or not isinstance(wanted, int) or not 0 <= wanted <= seed.MAX_REPLICAS:
        raise FleetError(422, f"params.replicas must be a whole number from 0 to {seed.MAX_REPLICAS}.")
    return wanted
