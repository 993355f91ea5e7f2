"""The neutral message: what every chat window shows, in the gateway's words, before a platform renders it.

Texts are plain: no markup, no mentions. A renderer escapes them for its platform.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from opsgate.contracts.base import Contract, Sha256

Tone = Literal["info", "waiting", "running", "success", "failure", "denied"]


class Fact(Contract):
    """One labelled line of a card."""

    label: str
    value: str


class Progress(Contract):
    """`percent` is 0 to 100, or null when the length is unknown."""

    percent: int | None = Field(default=None, ge=0, le=100)
    text: str = ""


class Button(Contract):
    """Something a person can press. `command` is the same thing typed; `binding_hash` is what the card showed."""

    action: Literal["approve", "reject", "cancel"]
    label: str
    style: Literal["primary", "danger", "plain"]
    confirm: str | None = None
    command: str
    binding_hash: Sha256


class Link(Contract):
    """A page to open, such as the one where a chat account is linked to a person."""

    label: str
    url: str


class Card(Contract):
    """One message. An Invocation has exactly one, edited in place as `version` rises."""

    tone: Tone
    title: str
    text: str
    facts: tuple[Fact, ...] = ()
    bullets: tuple[str, ...] = ()
    progress: Progress | None = None
    buttons: tuple[Button, ...] = ()
    examples: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    footer: str = ""
