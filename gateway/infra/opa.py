"""The door to Open Policy Agent, through opa-python-client. Fails closed: whatever is not a well-formed answer is none.

Only `query_rule` (`/v1/data`) with strict builtin errors: `/v1/query` ignores that parameter, and then a malformed
value can turn into an allow. No retry but one, on a connection that was closed while idle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from opa_client.opa_async import AsyncOpaClient
from pydantic import ValidationError

from gateway.domain.deciding import PolicyResult
from opsgate.contracts.decisions import PolicyAnswer, Reason
from opsgate.contracts.policy import PolicyInput

PACKAGE, RULE = "gateway.decision", "result"
PARAMETERS: dict[str, Any] = {"strict-builtin-errors": "true", "provenance": "true"}
BATCH_PACKAGE, BATCH_RULE = "gateway.batch", "results"
BATCH_S = 2.0
"""Seconds a batch may take: help and hints, which hold nothing up."""
IN_FLIGHT = 4
"""Decisions asked for at once; more only queue inside OPA (two cores)."""
QUEUE_S = 1.0
"""Seconds a question waits for a place; then it is refused like any that gets no answer."""

_TRY = "so nothing is allowed. Try again; if it stays so, tell the operator."
_TELL = "so nothing is allowed. Tell the security team."
_WORDS = {
    "policy_unreachable": f"The policy engine cannot be reached, {_TRY}",
    "policy_timeout": f"The policy engine took too long, {_TRY}",
    "policy_error": f"The policy failed while it was asked, {_TELL}",
    "policy_undefined": f"No policy is loaded that could decide, {_TELL}",
    "policy_bad_answer": f"The policy's answer has another shape than agreed, {_TELL}",
}


class OpaPolicy:
    """See `gateway.domain.ports.Policy`. `revision`: that of the bundle which answered last; "" before the first."""

    def __init__(self, url: str, deadline_s: float) -> None:
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        self._where = {"host": parts.hostname, "port": parts.port or (443 if tls else 8181), "ssl": tls}
        self._deadline_s = deadline_s
        self._client: AsyncOpaClient | None = None
        self._places = asyncio.Semaphore(IN_FLIGHT)
        self.revision = ""

    async def open(self) -> None:
        # The library's own retries would repeat strict errors; its time limit is a net under ours.
        self._client = AsyncOpaClient(**self._where, retries=0, timeout=self._deadline_s * 4)
        await self._client.__aenter__()

    async def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.close_connection()

    async def decide(self, document: PolicyInput) -> PolicyResult:
        """One decision within the deadline; at most QUEUE_S before that for a place."""
        raw = await self._asked(document.model_dump(mode="json", by_alias=True), self._deadline_s)
        return raw if isinstance(raw, PolicyResult) else self._read(raw)

    async def decide_all(self, documents: Sequence[PolicyInput]) -> list[PolicyResult]:
        """One decision a document, in their order; all of them none when the batch gave no list of that length."""
        body = {"inputs": [d.model_dump(mode="json", by_alias=True) for d in documents]}
        raw = await self._asked(body, BATCH_S, BATCH_PACKAGE, BATCH_RULE)
        if isinstance(raw, PolicyResult):
            return [raw] * len(documents)
        results = raw.get("result") if isinstance(raw, dict) else None
        if not isinstance(results, list) or len(results) != len(documents):
            return [self._none("policy_undefined")] * len(documents)
        self.revision = _revision(raw) or self.revision
        return [self._answer(result) for result in results]

    async def _asked(self, body: dict[str, Any], deadline_s: float, *rule: str) -> Any:
        """What OPA answered, or the PolicyResult that says why there is no answer."""
        try:
            # Waiting for a place is bounded apart: a rush must not turn good questions into denials.
            async with asyncio.timeout(QUEUE_S):
                await self._places.acquire()
            try:
                async with asyncio.timeout(deadline_s):
                    return await self._query(body, *rule)
            finally:
                self._places.release()
        except TimeoutError:
            return self._none("policy_timeout")
        except aiohttp.ClientResponseError:
            return self._none("policy_error")
        except (aiohttp.ClientError, OSError, AttributeError):
            return self._none("policy_unreachable")
        except ValueError:
            return self._none("policy_bad_answer")

    async def _query(self, body: dict[str, Any], package: str = PACKAGE, rule: str = RULE) -> Any:
        if self._client is None:
            raise OSError("the policy door is closed")
        try:
            return await self._client.query_rule(body, package, rule, query_params=PARAMETERS)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            # After a restart of OPA the first use of a kept connection fails; asking has no effect, so ask once more.
            return await self._client.query_rule(body, package, rule, query_params=PARAMETERS)

    def _read(self, raw: Any) -> PolicyResult:
        if not isinstance(raw, dict) or "result" not in raw:
            return self._none("policy_undefined")
        self.revision = _revision(raw) or self.revision
        return self._answer(raw["result"])

    def _answer(self, result: Any) -> PolicyResult:
        try:
            answer = PolicyAnswer.model_validate(result)
        except ValidationError:
            return self._none("policy_bad_answer")
        return PolicyResult(answer, self.revision)

    def _none(self, code: str) -> PolicyResult:
        return PolicyResult(None, self.revision, Reason(code=code, msg=_WORDS[code]))

    async def ready(self) -> str:
        """Empty when the policy answers; otherwise what is wrong."""
        try:
            async with asyncio.timeout(self._deadline_s * 4):
                raw = await self._query({})
        except (TimeoutError, aiohttp.ClientError, OSError, AttributeError, ValueError) as error:
            return f"OPA does not answer ({type(error).__name__}), so every command is refused until it is back"
        if not isinstance(raw, dict) or "result" not in raw:
            return f"OPA has no rule data.{PACKAGE}.{RULE}: no policy is loaded"
        self.revision = _revision(raw) or self.revision
        return ""


def _revision(raw: dict[str, Any]) -> str:
    """The revision of the bundle that decided, by OPA's own provenance."""
    provenance = raw.get("provenance") or {}
    bundles = provenance.get("bundles") or {}
    found = [str(b["revision"]) for b in bundles.values() if isinstance(b, dict) and b.get("revision")]
    return ",".join(sorted(found)) or str(provenance.get("revision") or "")
