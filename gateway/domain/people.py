"""What the store knows of people beside the directory file, and every write to it. Plain records; decides nothing.

Times are unix ns; 0 means never. A secret is never here, only its SHA-256 (hex).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from opsgate.contracts.base import Assurance

CredentialKind = Literal["console", "cli", "api"]
CodeKind = Literal["sign_in", "grant", "device", "link", "step_up"]


@dataclass(frozen=True)
class Link:
    """A chat account that is one with a person. `identity`: `platform:workspace/user-id`."""

    identity: str
    person: str
    at_ns: int


@dataclass(frozen=True)
class Known:
    """A person as their identity provider described them at the last sign-in. `groups` count until `stale_ns`."""

    subject: str
    person: str
    name: str
    groups: tuple[str, ...]
    seen_ns: int
    stale_ns: int


@dataclass(frozen=True)
class Credential:
    """A console session, a terminal's sign-in, or an API token. `account`: who it speaks as; `owner` answers for it.

    `idle_ns`: unused for longer, it ends (0: no such limit). `scopes` empty: no limit beyond the person's own.
    """

    id: str
    kind: CredentialKind
    digest: str
    account: str
    owner: str
    name: str
    scopes: tuple[str, ...]
    assurance: Assurance
    mfa_at_ns: int
    created_ns: int
    used_ns: int
    idle_ns: int
    expires_ns: int
    revoked_ns: int = 0

    def good(self, now_ns: int) -> bool:
        idle = self.idle_ns and now_ns - max(self.used_ns, self.created_ns) > self.idle_ns
        return not self.revoked_ns and now_ns < self.expires_ns and not idle


@dataclass(frozen=True)
class Code:
    """Something that is used once and soon: the state of a sign-in, a grant, a device, a link, a step-up.

    `person`: whose it is; empty when not known yet. `data`: what it is about, JSON.
    """

    digest: str
    kind: CodeKind
    person: str
    data: str
    expires_ns: int
    used_ns: int = 0


@dataclass(frozen=True)
class Delegation:
    """`taker` may vote in `giver`'s place from `from_ns` until `until_ns`."""

    id: str
    giver: str
    taker: str
    reason: str
    from_ns: int
    until_ns: int
    ended_ns: int = 0

    def holds(self, now_ns: int) -> bool:
        return self.from_ns <= now_ns < self.until_ns and not self.ended_ns


@dataclass(frozen=True)
class Review:
    """What must be looked at after the glass was broken."""

    id: str
    invocation_id: str
    person: str
    groups: tuple[str, ...]
    opened_ns: int
    due_ns: int
    closed_ns: int = 0
    closed_by: str = ""
    note: str = ""


# ---- writes: each is done in the transaction of the Change that carries it ------------------------------------


@dataclass(frozen=True)
class Unlink:
    identity: str


@dataclass(frozen=True)
class Unknown:
    """This subject is nobody any more: the directory gave its person to another."""

    subject: str


@dataclass(frozen=True)
class UseCode:
    """Raises CodeUsed when it was used before, has expired or never was: exactly one use wins."""

    digest: str
    at_ns: int


@dataclass(frozen=True)
class Revoke:
    """Ends credentials: the one with this id, or all of an account's of these kinds."""

    at_ns: int
    id: str = ""
    account: str = ""
    kinds: tuple[CredentialKind, ...] = ()


@dataclass(frozen=True)
class Used:
    """A credential was used."""

    id: str
    at_ns: int


@dataclass(frozen=True)
class EndDelegation:
    id: str
    at_ns: int


@dataclass(frozen=True)
class CloseReview:
    """Raises Conflict when it is closed already."""

    id: str
    by: str
    note: str
    at_ns: int


Write = (
    Link
    | Unlink
    | Known
    | Unknown
    | Credential
    | Used
    | Revoke
    | Code
    | UseCode
    | Delegation
    | EndDelegation
    | Review
    | CloseReview
)
"""Every write. Link raises AlreadyLinked when the account is another person's."""


@dataclass(frozen=True)
class People:
    """A snapshot: what every decision needs, held in memory. `version` rises with each write that changes it."""

    version: int = 0
    links: dict[str, str] = field(default_factory=dict)
    known: dict[str, Known] = field(default_factory=dict)
    delegations: tuple[Delegation, ...] = ()

    @cached_property
    def accounts(self) -> dict[str, tuple[str, ...]]:
        """Linked accounts by person."""
        return {p: tuple(i for i, owner in self.links.items() if owner == p) for p in set(self.links.values())}

    @cached_property
    def by_person(self) -> dict[str, Known]:
        return {k.person: k for k in self.known.values()}
