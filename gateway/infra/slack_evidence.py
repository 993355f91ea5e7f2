"""Checks Slack's own signature over the raw request an adapter passes on, and reads from it who said what, where.

Source of the scheme: Slack's documentation of request signing (v0, HMAC-SHA256, five minutes).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any
from urllib.parse import parse_qs

from gateway.domain.errors import Refused
from gateway.domain.invocation import NS
from gateway.domain.ports import Proven
from opsgate.contracts.invocations import ChatContext, Evidence
from opsgate.contracts.problems import Code

WINDOW_S = 300
_KINDS = {"C": "public", "G": "private", "D": "dm"}


class SlackEvidence:
    """See `gateway.domain.ports.EvidenceCheck`."""

    def __init__(self, signing_secret: str) -> None:
        self._secret = signing_secret.encode()

    def verify(self, evidence: Evidence, now_ns: int) -> Proven:
        """What this request proves. Raises Refused (403) for anything that Slack did not sign within five minutes."""
        signature = evidence.headers.get("x-slack-signature", "")
        stamp = evidence.headers.get("x-slack-request-timestamp", "")
        if not self._secret:
            raise _refused("This gateway has no Slack signing secret (OPSGATE_SLACK_SIGNING_SECRET)")
        if not stamp.isascii() or not stamp.isdigit() or abs(now_ns // NS - int(stamp[:12])) > WINDOW_S:
            raise _refused("The Slack request is too old or carries no time")
        wanted = hmac.new(self._secret, f"v0:{stamp}:{evidence.body}".encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(f"v0={wanted}".encode(), signature.encode()):
            raise _refused("Slack did not sign this request")
        key = "slack:" + hashlib.sha256(signature.encode()).hexdigest()[:40]
        try:
            return _read(evidence.body, key)
        except (KeyError, ValueError, TypeError, IndexError, AttributeError, RecursionError):
            raise _refused("The Slack request is of a kind that Opsgate does not take") from None


def _refused(what: str) -> Refused:
    return Refused(Code.UNPROVEN_ACTOR, 403, f"{what}. Nothing was done.")


def _read(body: str, key: str) -> Proven:
    if body.startswith("{"):
        return _event(json.loads(body), key)
    form = {k: v[0] for k, v in parse_qs(body, keep_blank_values=True, strict_parsing=True, max_num_fields=64).items()}
    if "payload" in form:
        return _button(json.loads(form["payload"]), key)
    return Proven(
        identity=f"slack:{form['team_id']}/{form['user_id']}",
        workspace=form["team_id"],
        app_id=form["api_app_id"],
        context=_context(form["channel_id"], ""),
        key=key,
        text=form["text"],
    )


def _button(payload: dict[str, Any], key: str) -> Proven:
    if payload["type"] != "block_actions":
        raise ValueError(payload["type"])
    action, container = payload["actions"][0], payload.get("container") or {}
    value = json.loads(action["value"])
    channel = (payload.get("channel") or {}).get("id") or container["channel_id"]
    return Proven(
        identity=f"slack:{payload['team']['id']}/{payload['user']['id']}",
        workspace=payload["team"]["id"],
        app_id=payload["api_app_id"],
        context=_context(channel, (payload.get("message") or {}).get("thread_ts", "")),
        key=key,
        action=(str(action["action_id"]).removeprefix("opsgate_"), str(value["id"]), str(value["binding_hash"])),
    )


def _event(body: dict[str, Any], key: str) -> Proven:
    event = body["event"]
    if body["type"] != "event_callback" or event["type"] != "app_mention" or event.get("bot_id"):
        raise ValueError(event["type"])
    text = str(event["text"])
    return Proven(
        identity=f"slack:{body['team_id']}/{event['user']}",
        workspace=body["team_id"],
        app_id=body["api_app_id"],
        context=_context(event["channel"], event.get("thread_ts", "")),
        # Slack signs each retry of an event anew; its own id is the same for all of them.
        key="slack:event:" + str(body["event_id"])[:60],
        text=text.partition(">")[2].strip() if text.startswith("<@") else text,
    )


def _context(channel: str, thread: str) -> ChatContext:
    kind: Any = _KINDS.get(channel[:1], "private")
    return ChatContext(channel=channel, channel_kind=kind, thread=thread)
