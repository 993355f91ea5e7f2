"""What gateway and workers say to each other: the wake-up message, the claim, progress and the report.

Nothing secret is in the message; what must be secret travels in the claim's answer, over the worker API only.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, StrictBool, StrictFloat

from opsgate.contracts.base import Contract, JsonObject, Percent, Sha256, WholeNumber

TASK_NAME = "opsgate.wake"
"""The one Celery task. Its keyword arguments are exactly the fields of WakeUp."""


QUEUE = "opsgate"
KEY_PREFIX = "opsgate:"
"""The queue of the wake-up messages, and what stands before every key of the broker in Redis."""


class WakeUp(Contract):
    """The broker message: which Job, the gateway's signed ticket for it, and the W3C trace context."""

    job: str
    ticket: str
    traceparent: str = ""


class OperationOffer(Contract):
    """An operation a worker can carry out; `input_schema` is the JSON Schema of its input."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$")
    summary: str
    idempotent: StrictBool
    input_schema: JsonObject


class Announce(Contract):
    """Body of `POST /worker/v1/announce`, sent at start and every 5 seconds."""

    worker: str = Field(max_length=128)
    operations: tuple[OperationOffer, ...]


class ClaimJob(Contract):
    """Body of `POST /worker/v1/claims`."""

    worker: str = Field(max_length=128)
    job: str
    ticket: str


class ClaimAnswer(Contract):
    """`run`: carry on with `step`; `skip`: nothing to do (done, held by another, not due). Seconds throughout.

    `deadline_s` is negative when the time is over already.

    `start`: probe, then start if nothing was found, then follow. `follow`: look again at `handle`. `cancel`: stop it.
    """

    verdict: Literal["run", "skip"]
    why: str
    step: Literal["start", "follow", "cancel"] | None = None
    fence: int = 0
    lease_s: int = 0
    deadline_s: float = 0
    correlation_id: str = ""
    binding_hash: Sha256 | None = None
    operation: str = ""
    input: JsonObject = Field(default_factory=dict)
    handle: JsonObject | None = None
    traceparent: str = ""


class JobProgress(Contract):
    """Body of `POST /worker/v1/jobs/{job}/progress`: heartbeat, progress and log lines in one; renews the lease.

    `handle` stores the connector's handle as soon as `start` returned, so that a crash cannot lose it.
    """

    worker: str
    fence: WholeNumber
    percent: Percent | None = None
    text: str = Field(default="", max_length=500)
    lines: tuple[str, ...] = Field(default=(), max_length=500)
    handle: JsonObject | None = None


class ProgressAnswer(Contract):
    """`held` false: the lease is gone, stop now and report nothing. `cancel`: somebody asked to stop."""

    held: bool
    cancel: bool


class JobReport(Contract):
    """Body of `POST /worker/v1/jobs/{job}/report`: ends this claim. Guarded by the fence.

    `running`: look again in `again_after_s` seconds with `handle`; anything else is final.
    """

    worker: str
    fence: WholeNumber
    result: Literal["running", "succeeded", "failed", "cancelled", "unknown"]
    summary: str = Field(default="", max_length=1000)
    facts: JsonObject = Field(default_factory=dict)
    handle: JsonObject | None = None
    again_after_s: StrictFloat = Field(default=0, ge=0, le=300)
    percent: Percent | None = None
    lines: tuple[str, ...] = Field(default=(), max_length=500)


class ReportAnswer(Contract):
    """`accepted` false: another holds the job now (the fence moved on); nothing was changed."""

    accepted: bool
