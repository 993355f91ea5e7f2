"""What Slack delivered: whether Slack signed it, what to show the gateway as evidence, and what names it.

Refuses everything that is not Slack's before anything parses it. The gateway checks the same signature again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

from slack_sdk.signature import SignatureVerifier

from opsgate.contracts.invocations import Evidence

SIGNATURE = "x-slack-signature"
TIMESTAMP = "x-slack-request-timestamp"
MAX_BODY = 262_144
"""Bytes of a delivery; what Evidence can hold."""

# slack_sdk raises on a time that is no number and on a signature that is not ASCII.
_SIGNATURE_FORM = re.compile(r"v0=[0-9a-f]{64}")
_TIMESTAMP_FORM = re.compile(r"[0-9]{1,12}")


def is_genuine(verifier: SignatureVerifier, body: bytes, headers: Mapping[str, str]) -> bool:
    """Whether Slack signed exactly these bytes within the last five minutes. Never raises."""
    signature, timestamp = headers.get(SIGNATURE, ""), headers.get(TIMESTAMP, "")
    if not _SIGNATURE_FORM.fullmatch(signature) or not _TIMESTAMP_FORM.fullmatch(timestamp):
        return False
    try:
        return verifier.is_valid(body, timestamp, signature)
    except UnicodeDecodeError:
        return False


def evidence(raw_body: str, headers: Mapping[str, Sequence[str]]) -> Evidence:
    """The signed request as the gateway will check it. `headers` as Bolt keeps them: lower case, lists."""
    signed = {name: headers[name][0] for name in (SIGNATURE, TIMESTAMP)}
    return Evidence(platform="slack", body=raw_body, headers=signed)


def key(*names: object) -> str:
    """The idempotency key of a delivery, from Slack's own ids of it: the same however often Slack sends it."""
    return "slack-" + hashlib.sha256("\n".join(map(str, names)).encode()).hexdigest()[:40]
