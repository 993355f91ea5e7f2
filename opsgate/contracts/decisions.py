"""What the policy answers, as the gateway passes it on. Shape `gateway.decision/v1`."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from opsgate.contracts.base import Assurance, Contract, JsonObject, Sha256, Timestamp


class Verdict(StrEnum):
    """The three answers of the policy. No answer is `deny`."""

    ALLOW = "allow"
    PENDING = "pending"
    DENY = "deny"


class NextAction(StrEnum):
    """What the asker can do about a Decision."""

    APPROVE = "approve"
    WAIT = "wait"
    RETRY = "retry"
    CHANGE = "change"
    NONE = "none"


class Reason(Contract):
    """Why: a code from the closed list in the reference, and one sentence for a person.

    `argument`: the argument of the Command that failed, when one did.
    """

    code: str = Field(max_length=64, pattern=r"^[a-z][a-z0-9_]*$")
    msg: str = Field(max_length=500)
    argument: str | None = Field(default=None, max_length=64)


class Stage(Contract):
    """A group of approvers and how many of them."""

    groups: tuple[str, ...]
    quorum: int = Field(ge=1, le=20)


class Requirement(Contract):
    """What others must agree to before an Invocation may run. `ttl_s`: seconds an approval counts.

    `wait_s`: seconds the Invocation waits for it (default 30 minutes). `auto`: a policy rule may fill it, no person.
    """

    id: str = Field(max_length=64)
    groups: tuple[str, ...] = Field(min_length=1)
    quorum: int = Field(ge=1, le=20)
    ttl_s: int = Field(ge=1, le=7 * 86400)
    distinct_from: Stage | None = None
    assurance: Assurance | None = None
    wait_s: int | None = Field(default=None, ge=1, le=7 * 86400)
    auto: bool = False


class AutoApproval(Contract):
    """A named rule of the policy that fills a Requirement which says it may (`auto`)."""

    rule: str = Field(max_length=128, pattern=r"^[a-z][a-z0-9_]*$")
    requirement: str = Field(max_length=64)


class RequirementStatus(Contract):
    """A Requirement with how far it is met, as a card shows it. `by`: `policy:RULE` when a rule filled it."""

    requirement: Requirement
    have: int
    met: bool
    by: str = ""


class Grant(Contract):
    """The rule that allowed it."""

    rule: str = Field(max_length=128)


class PolicyAnswer(Contract):
    """The document OPA returns at `data.gateway.decision.result`. Anything else is a deny."""

    schema_: Literal["gateway.decision/v1"] = Field(alias="schema")
    effect: Verdict
    request_hash: str
    reasons: tuple[Reason, ...]
    grants: tuple[Grant, ...]
    require: tuple[Requirement, ...]
    auto: tuple[AutoApproval, ...]
    unmet: tuple[str, ...]
    obligations: tuple[JsonObject, ...]


class Decision(Contract):
    """A PolicyAnswer with what the gateway adds: identity, revision, time, and what to do next."""

    id: str
    effect: Verdict
    phase: Literal["request", "approve", "execute"]
    reasons: tuple[Reason, ...] = ()
    grants: tuple[Grant, ...] = ()
    requirements: tuple[RequirementStatus, ...] = ()
    obligations: tuple[JsonObject, ...] = ()
    request_hash: Sha256
    input_digest: Sha256
    revision: str
    evaluated_at: Timestamp
    next_action: NextAction
