"""Cards as Block Kit: what the gateway says, in Slack's shapes and within its limits.

Refuses markup: every text is plain_text or rich_text, where a mention or a link would be an element of another type.
A card's own links become buttons that say where they lead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from opsgate.contracts.base import Contract, Sha256
from opsgate.contracts.messages import Button, Card, Link, Progress, Tone

Block = dict[str, Any]

EMOJI: dict[Tone, str] = {
    "info": "\N{INFORMATION SOURCE}\N{VARIATION SELECTOR-16}",
    "waiting": "\N{RAISED HAND}",
    "running": "\N{HOURGLASS WITH FLOWING SAND}",
    "success": "\N{WHITE HEAVY CHECK MARK}",
    "failure": "\N{CROSS MARK}",
    "denied": "\N{NO ENTRY}",
}

# Slack's limits, in characters. A message as a whole may hold about 13 000, so every part has a share of that.
_HEADER, _SECTION, _CONTEXT, _LOG = 150, 2000, 300, 2900
_BUTTON, _CONFIRM_TITLE, _CONFIRM_TEXT, _CONFIRM_LABEL = 75, 100, 300, 30
_FACTS, _FACT_LABEL, _FACT_VALUE = 10, 40, 400
_BULLETS, _BULLET = 20, 130
_EXAMPLES, _EXAMPLE = 5, 130
_LINKS, _URL = 5, 3000
# Nothing that could end a link in Slack's markup, and no page that is not one of the web.
_SAFE_URL = re.compile(r"https?://[A-Za-z0-9][A-Za-z0-9._~:/?#@!$&()*+,;=%-]*")


class Message(NamedTuple):
    """`text` is what notifications and screen readers get, escaped; `blocks` is what is seen."""

    text: str
    blocks: list[Block]


class Pressed(Contract):
    """A button's `value`: which Invocation, and the hash of what the card showed."""

    id: str
    binding_hash: Sha256


ACTION_PREFIX = "opsgate_"
OPENED = "opsgate_open_"
"""How the names of link buttons begin: Slack tells of a press on one too, and nothing is to be done."""
Action = Literal["approve", "reject", "cancel"]


def pressed(action_id: str, value: str) -> tuple[Action, Pressed] | None:
    """What a pressed button means, or None when it is not one of ours."""
    action = action_id.removeprefix(ACTION_PREFIX)
    if action not in ("approve", "reject", "cancel") or action == action_id:
        return None
    try:
        return action, Pressed.model_validate_json(value)  # type: ignore[return-value]  # narrowed by `in` above
    except ValidationError:
        return None


def escape(text: str) -> str:
    """For the one place that Slack reads as markup, the notification text: no `<!channel>`, no `<@U…>`, no links."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def message(card: Card, invocation_id: str = "") -> Message:
    """A card as a message. Without an `invocation_id` it has no buttons: there would be nothing to press."""
    title = f"{EMOJI[card.tone]} {card.title}"
    blocks: list[Block] = [{"type": "header", "text": _plain(title, _HEADER)}]
    if card.text:
        blocks.append({"type": "section", "text": _plain(card.text, _SECTION)})
    if details := _details(card):
        blocks.append({"type": "rich_text", "elements": details})
    if card.progress is not None and (line := _progress(card.progress)):
        blocks.append({"type": "context", "elements": [_plain(line, _CONTEXT)]})
    if card.buttons and invocation_id:
        blocks.append({"type": "actions", "elements": [_button(b, invocation_id) for b in card.buttons]})
    links = [link for link in card.links if len(link.url) <= _URL and _SAFE_URL.fullmatch(link.url)][:_LINKS]
    if links:
        blocks.append({"type": "actions", "elements": [_link(link, n) for n, link in enumerate(links)]})
    if card.footer:
        blocks.append({"type": "context", "elements": [_plain(card.footer, _CONTEXT)]})
    said = [_cut(f"{title}\n{card.text}".strip(), _SECTION), *(f"{_cut(x.label, _BUTTON)}: {x.url}" for x in links)]
    return Message(escape("\n".join(said)), blocks)


def log_lines(lines: Sequence[str]) -> Message:
    """The end of a log, for a thread: the last lines that fit."""
    text = "\n".join(lines)
    text = text if len(text) <= _LOG else "…" + text[-_LOG:]
    block = {"type": "rich_text", "elements": [_preformatted(text)]}
    return Message(f"The last {len(lines)} lines of its log.", [block])


def notice(text: str) -> Message:
    """One line for everybody, as plain as the rest."""
    cut = _cut(text, _BULLET)
    return Message(cut, [{"type": "rich_text", "elements": [_point(cut)]}])


def _details(card: Card) -> list[Block]:
    parts: list[Block] = []
    if card.facts:
        words: list[Block] = []
        for fact in card.facts[:_FACTS]:
            words.append({"type": "text", "text": f"{_cut(fact.label, _FACT_LABEL)}: ", "style": {"bold": True}})
            words.append({"type": "text", "text": _cut(fact.value, _FACT_VALUE) + "\n"})
        if len(card.facts) > _FACTS:
            words.append({"type": "text", "text": f"… and {len(card.facts) - _FACTS} more"})
        parts.append({"type": "rich_text_section", "elements": words})
    if card.bullets:
        points = [_point(line) for line in card.bullets[:_BULLETS]]
        if len(card.bullets) > _BULLETS:
            points.append(_point(f"… and {len(card.bullets) - _BULLETS} more"))
        parts.append({"type": "rich_text_list", "style": "bullet", "elements": points})
    if card.examples:
        parts.append(_preformatted("\n".join(_cut(e, _EXAMPLE) for e in card.examples[:_EXAMPLES])))
    return parts


def _point(line: str) -> Block:
    return {"type": "rich_text_section", "elements": [{"type": "text", "text": _cut(line, _BULLET)}]}


def _progress(progress: Progress) -> str:
    if progress.percent is None:
        return progress.text
    full = progress.percent // 10
    return f"{'▰' * full}{'▱' * (10 - full)} {progress.percent} % {progress.text}".strip()


def _button(button: Button, invocation_id: str) -> Block:
    block: Block = {
        "type": "button",
        "action_id": ACTION_PREFIX + button.action,
        "text": _plain(button.label, _BUTTON),
        "value": Pressed(id=invocation_id, binding_hash=button.binding_hash).model_dump_json(),
    }
    if button.style != "plain":
        block["style"] = button.style
    if button.confirm:
        block["confirm"] = {
            "title": _plain(f"{button.label}?", _CONFIRM_TITLE),
            "text": _plain(button.confirm, _CONFIRM_TEXT),
            "confirm": _plain(button.label, _CONFIRM_LABEL),
            "deny": _plain("Not now", _CONFIRM_LABEL),
        }
    return block


def _link(link: Link, number: int) -> Block:
    label = _plain(link.label, _BUTTON)
    return {"type": "button", "action_id": f"{OPENED}{number}", "text": label, "url": link.url}


def _plain(text: str, limit: int) -> Block:
    return {"type": "plain_text", "text": _cut(text, limit), "emoji": False}


def _preformatted(text: str) -> Block:
    return {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": text or " "}]}


def _cut(text: str, limit: int) -> str:
    """At most `limit` characters, and never empty: Slack refuses an empty text."""
    return (text if len(text) <= limit else text[: limit - 1] + "…") or " "
