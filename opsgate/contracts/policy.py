"""The input document of the policy, `gateway.input/v1`. Every field is always present (null, "" or [] when unknown).

A field that may be absent would let a Rego rule become undefined and a deny silently not fire (opa#8387).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from opsgate.contracts.base import Assurance, Contract, Effect, JsonObject, PrincipalKind


class LocalTime(Contract):
    """Wall time in one zone. `minute_of_day`: minutes since local midnight."""

    date: str
    weekday: Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    minute_of_day: int = Field(ge=0, lt=1440)


class Now(Contract):
    """The only clock a policy may read. `unix_ns`: nanoseconds since 1970, UTC."""

    unix_ns: int
    local: dict[str, LocalTime]


class PolicyRevision(Contract):
    revision: str
    bundle_age_s: int | None


class Auth(Contract):
    """How the asker was authenticated. `mfa_at_ns`: 0 when no second factor was seen.

    `scopes`: the effects an API token is limited to; [] when there is no such limit.
    """

    method: Literal["token", "chat", "persona", "oidc", "api_token", "gateway"]
    assurance: Assurance
    mfa_at_ns: int
    scopes: tuple[str, ...]


class Via(Contract):
    """Through whom it came: the adapter ("" for REST), and everybody who acts for the subject, nearest first.

    The owners of acting service accounts stand in the chain too: an actor never approves what it asked for another.
    """

    adapter: str
    actor_chain: tuple[str, ...]


class Subject(Contract):
    """Who asks. `owner`: the person a service account belongs to; "" for humans. Its votes are that person's own."""

    id: str
    kind: PrincipalKind
    tenant: str
    verified: bool
    groups: tuple[str, ...]
    linked_ids: tuple[str, ...]
    owner: str
    auth: Auth
    via: Via


class Action(Contract):
    name: str
    effect: Effect
    args: JsonObject
    idempotent: bool
    dry_run: bool


class Resource(Contract):
    """The resolved target. `owners`: groups that own it. `team`: the team's group ("" when nobody owns it)."""

    service: str
    env: str
    tenant: str
    owners: tuple[str, ...]
    team: str
    labels: dict[str, str]
    exists: bool


class Blast(Contract):
    """How much it could touch; null means unknown. `percent`: 0 to 100 of the target."""

    targets: int | None
    percent: float | None
    plan_digest: str | None
    deletes: int | None
    irreversible: bool | None


class Context(Contract):
    platform: str
    channel: str
    channel_kind: Literal["public", "private", "dm", "none"]
    thread: str
    truncated: bool
    source_ip: str | None


class Ticket(Contract):
    """A change ticket as the tracker knows it now. `verified` false: the tracker does not have it, or did not answer.

    `verified_at_ns`: when the tracker said so (unix ns; 0: never). `state`: the tracker's word, in lower case.
    """

    system: str
    id: str
    state: str
    verified: bool
    verified_at_ns: int


class BreakGlass(Contract):
    requested: bool
    reason: str
    incident: str


class Asked(Contract):
    id: str
    hash: str
    created_ns: int
    reason: str
    break_glass: BreakGlass


class Approver(Contract):
    """Who voted. `on_behalf_of`: the person who delegated to them; `groups` are then that person's."""

    id: str
    kind: PrincipalKind
    verified: bool
    groups: tuple[str, ...]
    assurance: Assurance
    on_behalf_of: str | None


class Approval(Contract):
    """One person's Vote as the policy sees it. Times in unix ns."""

    id: str
    decision: Literal["approve", "reject"]
    approver: Approver
    platform: str
    at_ns: int
    expires_ns: int
    request_hash: str
    policy_revision: str
    requirement_digest: str
    revoked: bool


class Freeze(Contract):
    """A stop of changes that is in force on this target now. `until_ns` 0: until lifted."""

    scope: str
    reason: str
    by: str
    from_ns: int
    until_ns: int


class Recent(Contract):
    """What happened lately. `pending_by_subject`: other Invocations of the subject that wait for approval.

    `rejected_s`: seconds since the same thing, asked by the same subject, was rejected; null if it was not (24 h).
    `open_reviews`: break-glass uses of the subject whose review is not closed.
    """

    by_subject_1h: int
    same_command_24h: int
    running_on_resource: int
    pending_by_subject: int
    rejected_s: int | None
    open_reviews: int


class PolicyInput(Contract):
    schema_: Literal["gateway.input/v1"] = Field(default="gateway.input/v1", alias="schema")
    phase: Literal["request", "approve", "execute"]
    tenant: str
    now: Now
    policy: PolicyRevision
    subject: Subject
    action: Action
    resource: Resource
    blast: Blast
    context: Context
    ticket: Ticket | None
    request: Asked
    approvals: tuple[Approval, ...]
    freezes: tuple[Freeze, ...]
    recent: Recent
