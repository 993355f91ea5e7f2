"""The base of every shape that crosses a process: frozen, and unknown fields are refused.

Refuses behaviour: a contract describes bytes on a wire, it never decides anything.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StrictInt

JsonObject = dict[str, Any]
"""A JSON object whose shape is given elsewhere (an operation's input schema, a connector's handle)."""

Identifier = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:@/|-]*$")]
Sha256 = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
_WHOLE = BeforeValidator(lambda v: int(v) if isinstance(v, float) and v.is_integer() else v)
WholeNumber = Annotated[StrictInt, _WHOLE]
Percent = Annotated[StrictInt, Field(ge=0, le=100), _WHOLE]
"""Integers as JSON Schema has them: 30.0 is one too, `"30"` and `true` are none."""
Timestamp = AwareDatetime
"""RFC 3339 with an offset; the gateway always answers in UTC."""


class Contract(BaseModel):
    """Immutable; an unknown field is an error, so that no side can smuggle or silently drop anything."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Effect(StrEnum):
    """What asking for a Command can do to the world."""

    READ = "read"
    WRITE = "write"
    DESTROY = "destroy"


class Assurance(StrEnum):
    """How well the gateway knows who it is; ordered from weakest to strongest."""

    ASSERTED = "asserted"
    VERIFIED = "verified"
    OIDC = "oidc"
    OIDC_MFA = "oidc_mfa"


class PrincipalKind(StrEnum):
    HUMAN = "human"
    SERVICE = "service"
    BOT = "bot"
