"""Who people are and what they hold: linked accounts, API tokens, sessions, delegations, reviews of broken glass."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from opsgate.contracts.base import Contract, Timestamp

PERSON = r"^[a-z0-9][a-z0-9-]{0,62}$"
Scope = Literal["read", "write", "destroy"]


class LinkedAccount(Contract):
    """A chat account that is one with a person. `identity`: `platform:workspace/user-id`. `by`: what linked it."""

    identity: str
    platform: str
    person: str
    by: Literal["directory", "sign-in"]
    linked_at: Timestamp | None


class NewToken(Contract):
    """Body of `POST /v1/tokens`: for oneself, or a service account one owns. `scopes`: the effects it may ask for."""

    name: str = Field(min_length=1, max_length=80)
    account: str | None = Field(default=None, pattern=PERSON)
    scopes: tuple[Scope, ...] = Field(default=("read",), min_length=1, max_length=3)
    expires_in_days: int = Field(default=30, ge=1, le=365)


class Credential(Contract):
    """A sign-in or an API token, as its holder sees it: never the secret itself, which is kept only as a hash."""

    id: str
    kind: Literal["console", "cli", "api"]
    name: str
    account: str
    owner: str
    scopes: tuple[Scope, ...]
    created_at: Timestamp
    last_used_at: Timestamp | None
    expires_at: Timestamp
    revoked_at: Timestamp | None


class MadeToken(Contract):
    """`token` is shown this once."""

    token: str
    credential: Credential


class NewDelegation(Contract):
    """Body of `POST /v1/delegations`: `to` may approve in the caller's place until `until`."""

    to: str = Field(pattern=PERSON)
    until: Timestamp
    reason: str = Field(min_length=3, max_length=500)


class Delegation(Contract):
    """One person may vote in another's place for a time; both names stand in the record."""

    id: str
    giver: str
    taker: str
    reason: str
    from_: Timestamp = Field(alias="from")
    until: Timestamp
    ended_at: Timestamp | None


class Review(Contract):
    """What must be looked at after the glass was broken. Open, it blocks that person's next break-glass."""

    id: str
    invocation_id: str
    person: str
    groups: tuple[str, ...]
    opened_at: Timestamp
    due_at: Timestamp
    closed_at: Timestamp | None
    closed_by: str
    note: str


class CloseReview(Contract):
    """Body of `POST /v1/reviews/{id}/close`: what was found."""

    note: str = Field(min_length=10, max_length=2000)
