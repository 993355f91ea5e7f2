"""Signing in at an identity provider: what is asked of it, what it answers, and the port to it. Decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Asking:
    """One sign-in. `verifier`: the PKCE secret. `again_since_ns`: not 0, they must sign in anew, after this time."""

    state: str
    nonce: str
    verifier: str
    again_since_ns: int = 0


@dataclass(frozen=True)
class Returned:
    """What the browser brought back from the provider: a code, or an error. `issuer`: who says so (RFC 9207)."""

    code: str
    error: str = ""
    issuer: str = ""


@dataclass(frozen=True)
class Identified:
    """Somebody as their provider knows them. `groups`: as it calls them. `second_factor`: they used one just now."""

    issuer: str
    subject: str
    name: str
    groups: tuple[str, ...]
    second_factor: bool


class IdentityProvider(Protocol):
    """Raises Unavailable when it does not answer, Refused when what it says is not to be believed."""

    @property
    def name(self) -> str:
        """Its host, for people to recognize."""

    async def url(self, asking: Asking) -> str:
        """Where to send the browser."""

    async def identify(self, asking: Asking, returned: Returned) -> Identified:
        """Who signed in."""
