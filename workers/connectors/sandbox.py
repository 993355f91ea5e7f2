"""The practice fleet as an outside system, over HTTP as any cloud. Refuses nothing the fleet would allow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from opsgate.connectors import Cancelled, Connector, Failed, Handle, Operation, Progressing, Result, Run, Succeeded
from workers.outside import Outside, Reading

LOOK_EVERY_S = 0.5
MAX_LINES = 500


class Target(BaseModel):
    """One service in one environment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    service: str = Field(min_length=1, max_length=64)
    environment: str = Field(min_length=1, max_length=64)


class StatusInput(BaseModel):
    """`environment` null: in all of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    service: str = Field(min_length=1, max_length=64)
    environment: str | None = Field(default=None, max_length=64)


class VersionInput(Target):
    version: str = Field(min_length=1, max_length=64)


class ScaleInput(Target):
    replicas: int = Field(ge=0, le=20)


class LogsInput(Target):
    lines: int = Field(default=20, ge=1, le=MAX_LINES)


Asked = TypeVar("Asked", bound=Target)


class PageInput(BaseModel):
    model_config = ConfigDict(extra="forbid")

    group: str = Field(min_length=1, max_length=200)
    text: str = Field(min_length=1, max_length=500)


class Rollout(Operation[Asked]):
    """Everything the fleet does as a rollout. The handle: the rollout's id, and how many of its steps were told."""

    kind: ClassVar[str]
    # The fleet begins one rollout for a correlation id, however often it is asked.
    idempotent: ClassVar[bool] = True

    def __init__(self, fleet: Outside) -> None:
        self._fleet = fleet

    def probe(self, run: Run, input: Asked) -> Handle | None:
        found = self._fleet.get("/v1/rollouts", correlation_id=run.correlation_id, service=input.service)["items"]
        return {"rollout": found[0]["id"], "told": 0} if found else None

    def start(self, run: Run, input: Asked) -> Handle:
        params = input.model_dump(exclude={"service", "environment"})
        rollout = self._fleet.post(
            "/v1/rollouts",
            json={
                "kind": self.kind,
                "service": input.service,
                "environment": input.environment,
                "params": params,
                "correlation_id": run.correlation_id,
            },
        )
        return {"rollout": rollout["id"], "told": 0}

    def follow(self, run: Run, input: Asked, handle: Handle) -> Result:
        return self._result(run, handle, self._fleet.get(_path(handle)))

    def cancel(self, run: Run, input: Asked, handle: Handle) -> Result:
        return self._result(run, handle, self._fleet.post(f"{_path(handle)}/cancel"))

    def _result(self, run: Run, handle: Handle, rollout: dict[str, Any]) -> Result:
        for step in rollout["steps"][handle["told"] :]:
            run.log(step["text"])
        # The runner stores the handle again, so that a line is told once.
        handle["told"] = len(rollout["steps"])
        text = rollout["text"]
        facts = {
            "rollout": rollout["id"],
            "service": rollout["service"],
            "environment": rollout["environment"],
            "from_version": rollout["from_version"],
            **rollout["params"],
        }
        match rollout["state"]:
            case "succeeded":
                return Succeeded(text, facts)
            case "failed":
                return Failed(text, facts)
            case "cancelled":
                return Cancelled(text, facts)
            case _:
                return Progressing(text, rollout["percent"], LOOK_EVERY_S)


class Deploy(Rollout[VersionInput]):
    name = "sandbox.deploy"
    summary = "Put a version of a service live, replica by replica"
    input = VersionInput
    kind = "deploy"


class Rollback(Rollout[Target]):
    name = "sandbox.rollback"
    summary = "Put the version before the live one back"
    input = Target
    kind = "rollback"


class Restart(Rollout[Target]):
    name = "sandbox.restart"
    summary = "Restart a service, replica by replica"
    input = Target
    kind = "restart"


class Scale(Rollout[ScaleInput]):
    name = "sandbox.scale"
    summary = "Change how many replicas a service has"
    input = ScaleInput
    kind = "scale"


class Migrate(Rollout[VersionInput]):
    name = "sandbox.migrate"
    summary = "Move a service's database to a version; it cannot be undone"
    input = VersionInput
    kind = "migrate"
    # Declared so although the fleet would refuse the double: a destroying step is never begun again on a guess.
    idempotent = False


class Status(Reading[StatusInput]):
    name = "sandbox.status"
    summary = "What is live, and how it is"
    input = StatusInput

    def __init__(self, fleet: Outside) -> None:
        self._fleet = fleet

    def follow(self, run: Run, input: StatusInput, handle: Handle) -> Result:
        if input.environment is not None:
            found = [self._fleet.get(_service(input.environment, input.service))]
        else:
            found = [each for each in self._fleet.get("/v1/services")["items"] if each["service"] == input.service]
        if not found:
            return Failed(f"The fleet has no service {input.service}.")
        said = "; ".join(
            f"{each['version']} in {each['environment']}, {each['health']}"
            f" ({each['healthy_replicas']} of {len(each['replicas'])} replicas)"
            for each in found
        )
        return Succeeded(f"{input.service}: {said}.", {"deployments": found})


class Logs(Reading[LogsInput]):
    name = "sandbox.logs"
    summary = "The last log lines of a service"
    input = LogsInput

    def __init__(self, fleet: Outside) -> None:
        self._fleet = fleet

    def follow(self, run: Run, input: LogsInput, handle: Handle) -> Result:
        path = f"{_service(input.environment, input.service)}/logs"
        lines = self._fleet.get(path, lines=str(input.lines))["lines"]
        # The Job's log has a time of its own beside each line; the output stands alone and keeps the service's.
        for line in lines:
            run.log(line["text"])
        count = f"The last {len(lines)} log lines" if lines else "No log lines"
        output = [f"{line['at']} {line['text']}" for line in lines[-20:]]
        return Succeeded(f"{count} of {input.service} in {input.environment}.", {"output": output})


class Page(Operation[PageInput]):
    """Somebody's pager rings. The fleet rings once for a correlation id, however often it is asked."""

    name = "sandbox.page"
    summary = "Page a group of people"
    idempotent = True
    input = PageInput

    def __init__(self, fleet: Outside) -> None:
        self._fleet = fleet

    def probe(self, run: Run, input: PageInput) -> Handle | None:
        return None  # asking again finds the first

    def start(self, run: Run, input: PageInput) -> Handle:
        self._fleet.post("/v1/pages", json={"correlation_id": run.correlation_id, **input.model_dump()})
        return {}

    def follow(self, run: Run, input: PageInput, handle: Handle) -> Result:
        return Succeeded(f"{input.group} was paged.")

    def cancel(self, run: Run, input: PageInput, handle: Handle) -> Result:
        return self.follow(run, input, handle)


class SandboxConnector(Connector):
    """Set OPSGATE_SANDBOX_URL."""

    name = "sandbox"

    def __init__(self, environment: Mapping[str, str]) -> None:
        url = environment.get("OPSGATE_SANDBOX_URL", "")
        if not url:
            raise ValueError("OPSGATE_SANDBOX_URL is missing; give the address of the practice fleet.")
        self._fleet = Outside("The practice fleet", url)

    def operations(self) -> tuple[Operation[Any], ...]:
        fleet = self._fleet
        return (
            Status(fleet),
            Deploy(fleet),
            Rollback(fleet),
            Restart(fleet),
            Scale(fleet),
            Migrate(fleet),
            Logs(fleet),
            Page(fleet),
        )


def _service(environment: str, service: str) -> str:
    return f"/v1/services/{quote(environment, safe='')}/{quote(service, safe='')}"


def _path(handle: Handle) -> str:
    return f"/v1/rollouts/{quote(handle['rollout'], safe='')}"
