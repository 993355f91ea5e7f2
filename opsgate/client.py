"""The gateway's REST API for programs: adapters, the command line, scripts.

Refuses to follow redirects, to read proxies or credentials from the environment, and to pass on an answer
that is not in the contracts.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing
from types import TracebackType
from typing import Literal, Self, TypeVar

import httpx2
from pydantic import ValidationError

from opsgate import __version__, feed
from opsgate.contracts.audit import AuditRecord
from opsgate.contracts.base import Contract
from opsgate.contracts.commands import AskDecision, CommandView, WhatIf, WhoAmI
from opsgate.contracts.events import FeedEvent
from opsgate.contracts.invocations import (
    Answer,
    CancelInvocation,
    CastVote,
    InvocationView,
    LogLine,
    Page,
    SendMessage,
    State,
    SubmitInvocation,
)
from opsgate.contracts.people import (
    CloseReview,
    Credential,
    Delegation,
    LinkedAccount,
    MadeToken,
    NewDelegation,
    NewToken,
    Review,
)
from opsgate.contracts.problems import CONTENT_TYPE, Problem
from opsgate.errors import BadAnswer, GatewayRefused, GatewayUnreachable, Mistake, OpsgateError

T = TypeVar("T", bound=Contract)
Params = dict[str, str | int]

RETRY_WAIT_S = 0.2
LONGEST_RETRY_WAIT_S = 5.0
FEED_SILENCE_S = 45.0
"""Three keep-alives of the gateway: a feed that is silent for longer is dead, and is opened again."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 10.0

# Nothing that could leave its place in a path or a header.
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@|-]{0,199}")
_SAFE_ACCOUNT = re.compile(r"[a-z]{1,20}(:[A-Za-z0-9][A-Za-z0-9_.@|-]{0,79})(/[A-Za-z0-9][A-Za-z0-9_.@|-]{0,79})")
_SAFE_HEADER = re.compile(r"[!-~]+")


class PersonaToken(Contract):
    """A development gateway's token for one of its personas; `expires_in` seconds."""

    token: str
    expires_in: int


class Client:
    """An async context manager; one of it serves many calls at a time. `timeout` in seconds, for each answer.

    Bodies and answers are the contracts. A POST carries `key` as its Idempotency-Key, or a fresh one, and is sent once
    more with the same when the connection breaks or the gateway answers 503 with a short Retry-After.
    Every call raises OpsgateError: GatewayRefused, GatewayUnreachable, BadAnswer or Mistake.
    """

    def __init__(
        self, url: str, token: str, *, timeout: float = 10.0, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        """`token` may be empty for calls that need none. Raises Mistake on a URL or token that cannot be used."""
        try:
            base = httpx2.URL(url)
        except (httpx2.InvalidURL, UnicodeError) as why:
            raise Mistake(f"The gateway's URL {url!r} cannot be read ({why}). Give one like http://host:8420.") from why
        if base.scheme not in ("http", "https") or not base.host:
            raise Mistake(f"The gateway's URL {url!r} is none. Give one like http://host:8420.")
        headers = {"User-Agent": f"opsgate/{__version__}", "Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {_header(token, 'token')}"
        self.url = url
        self._timeout = timeout
        self._http = httpx2.AsyncClient(
            base_url=base,
            headers=headers,
            timeout=timeout,
            transport=transport,
            trust_env=False,
            follow_redirects=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    # Asking and answering

    async def send_message(self, body: SendMessage, *, key: str | None = None) -> Answer:
        """A chat line in, a chat answer out. A mistake in the line is an Answer too, of kind `mistake`."""
        return await self._post("/v1/messages", body, Answer, key)

    async def submit(self, body: SubmitInvocation, *, key: str | None = None) -> InvocationView:
        """Asks for a Command. Denied is an answer; a line it cannot read raises GatewayRefused (`bad_command`)."""
        return await self._post("/v1/invocations", body, InvocationView, key)

    async def vote(self, invocation_id: str, body: CastVote, *, key: str | None = None) -> Answer:
        return await self._post(f"/v1/invocations/{_id(invocation_id)}/votes", body, Answer, key)

    async def cancel(self, invocation_id: str, body: CancelInvocation, *, key: str | None = None) -> Answer:
        return await self._post(f"/v1/invocations/{_id(invocation_id)}/cancel", body, Answer, key)

    async def decide(self, body: AskDecision) -> WhatIf:
        """What would be decided. Nothing runs."""
        return await self._post("/v1/decisions", body, WhatIf)

    # Looking

    async def invocation(self, invocation_id: str) -> InvocationView:
        return await self._get(f"/v1/invocations/{_id(invocation_id)}", InvocationView)

    def invocations(
        self, *, state: State | None = None, service: str = "", channel: str = "", page_size: int = 50
    ) -> AsyncGenerator[InvocationView, None]:
        """Newest first, fetched page by page as far as you read."""
        params: Params = {"limit": page_size, "state": state or "", "service": service, "channel": channel}
        return self._pages("/v1/invocations", params, Page[InvocationView], "cursor")

    def log(self, invocation_id: str, *, after: int = 0) -> AsyncGenerator[LogLine, None]:
        """Oldest first, from the line after `after`."""
        return self._pages(f"/v1/invocations/{_id(invocation_id)}/log", {"after": after}, Page[LogLine], "after")

    async def commands(self) -> tuple[CommandView, ...]:
        """The catalog, with what the asker may do."""
        return tuple([item async for item in self._pages("/v1/commands", {}, Page[CommandView], "cursor")])

    async def whoami(self) -> WhoAmI:
        return await self._get("/v1/whoami", WhoAmI)

    def audit(self, *, writer: str = "", after: int = 0, page_size: int = 500) -> AsyncGenerator[AuditRecord, None]:
        """Oldest first, of one `writer` or of all; for the group security and the role owner."""
        params: Params = {"writer": writer, "limit": page_size, "after": after or ""}
        return self._pages("/v1/audit", params, Page[AuditRecord], "after")

    async def events(
        self, *, last_event_id: int | None = None, channel: str = "", invocation: str = "", patience_s: float = 60.0
    ) -> AsyncGenerator[FeedEvent, None]:
        """The feed, without end: opened again whenever it breaks, from after the last event seen, none twice.

        `last_event_id` None: from now on. Raises GatewayUnreachable after `patience_s` seconds without an open feed.
        Close it (contextlib.aclosing) when you stop reading.
        """
        params = _given({"channel": channel, "invocation": invocation})
        last, pause, up_at = last_event_id, FIRST_PAUSE_S, time.monotonic()
        while True:
            opened_at: float | None = None
            why: Exception | None = None
            try:
                async with self._open_feed(params, last) as response:
                    await self._check(response)
                    opened_at = time.monotonic()
                    async with aclosing(feed.read(response)) as events:
                        async for event in events:
                            if last is None or event.id > last:
                                last = event.id
                                yield event
            except (httpx2.TransportError, GatewayUnreachable) as lost:
                why = lost
            except GatewayRefused as refused:
                if refused.problem.status not in (429, 503):
                    raise
                why = refused
            now = time.monotonic()
            if opened_at is not None:
                up_at = now
                # A feed that held for a while is opened again at once; one that falls shut each time is not hammered.
                pause = FIRST_PAUSE_S if now - opened_at > pause else pause
            if now - up_at >= patience_s:
                raise self._unreachable(why) from why
            await asyncio.sleep(pause * (0.5 + secrets.randbelow(1000) / 1000))
            pause = min(pause * 2, LONGEST_PAUSE_S)

    # Approvals, and what people hold

    def approvals(
        self, view: Literal["waiting", "asked", "decided"] = "waiting", *, page_size: int = 50
    ) -> AsyncGenerator[InvocationView, None]:
        """What waits for the asker, oldest first; or what they asked for or decided, newest first."""
        return self._pages("/v1/approvals", {"view": view, "limit": page_size}, Page[InvocationView], "cursor")

    async def reviews(self, *, open_only: bool = False) -> tuple[Review, ...]:
        """What was done with the glass broken, newest first."""
        return (await self._get("/v1/reviews", Page[Review], {"open": "true" if open_only else ""})).items

    async def close_review(self, review_id: str, body: CloseReview, *, key: str | None = None) -> Review:
        return await self._post(f"/v1/reviews/{_id(review_id)}/close", body, Review, key)

    async def links(self, *, person: str = "") -> tuple[LinkedAccount, ...]:
        """The asker's chat accounts, or for security those of `person`."""
        return (await self._get("/v1/links", Page[LinkedAccount], {"person": person})).items

    async def unlink(self, identity: str) -> None:
        """`identity`: `platform:workspace/account`."""
        if not _SAFE_ACCOUNT.fullmatch(identity):
            raise Mistake(f"{identity!r} is no chat account. They look like slack:T0ACME/U0ALICE; see `opsgate links`.")
        await self._delete(f"/v1/links/{identity}")

    async def tokens(self) -> tuple[Credential, ...]:
        """API tokens of the asker and of service accounts they own, newest first."""
        return (await self._get("/v1/tokens", Page[Credential])).items

    async def make_token(self, body: NewToken, *, key: str | None = None) -> MadeToken:
        """The token is told this once: an answer that is lost is a token to revoke."""
        return await self._post("/v1/tokens", body, MadeToken, key)

    async def revoke_token(self, token_id: str) -> None:
        await self._delete(f"/v1/tokens/{_id(token_id)}")

    async def delegations(self) -> tuple[Delegation, ...]:
        """Given or taken by the asker, newest first."""
        return (await self._get("/v1/delegations", Page[Delegation])).items

    async def delegate(self, body: NewDelegation, *, key: str | None = None) -> Delegation:
        return await self._post("/v1/delegations", body, Delegation, key)

    async def end_delegation(self, delegation_id: str) -> None:
        await self._delete(f"/v1/delegations/{_id(delegation_id)}")

    # Development gateways only

    async def persona_token(self, persona: str) -> PersonaToken:
        """A token to be `persona` with; only a development gateway has any."""
        return await self._post(f"/v1/dev/personas/{_id(persona)}/token", None, PersonaToken)

    # How it travels

    async def _post(self, path: str, body: Contract | None, answer: type[T], key: str | None = None) -> T:
        headers = {"Idempotency-Key": _header(key or secrets.token_urlsafe(24), "idempotency key")}
        content = b""
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = body.model_dump_json(by_alias=True).encode()
        response: httpx2.Response | None = None
        wait: float | None = RETRY_WAIT_S
        try:
            response = await self._http.post(path, content=content, headers=headers)
            wait = _retry_after(response) if response.status_code == 503 else None
        except httpx2.TransportError:
            pass  # Once more below; if that breaks too, it is told there.
        if response is None or (wait is not None and wait <= LONGEST_RETRY_WAIT_S):
            await asyncio.sleep(wait or 0)
            try:
                response = await self._http.post(path, content=content, headers=headers)
            except httpx2.TransportError as why:
                raise self._unreachable(why) from why
        return await self._read(response, answer)

    async def _get(self, path: str, answer: type[T], params: Params | None = None) -> T:
        try:
            response = await self._http.get(path, params=_given(params or {}))
        except httpx2.TransportError as why:
            raise self._unreachable(why) from why
        return await self._read(response, answer)

    async def _delete(self, path: str) -> None:
        try:
            response = await self._http.delete(path)
        except httpx2.TransportError as why:
            raise self._unreachable(why) from why
        await self._check(response)

    async def _pages(self, path: str, params: Params, page: type[Page[T]], cursor: str) -> AsyncGenerator[T, None]:
        params = _given(params)
        while True:
            answer = await self._get(path, page, params)
            for item in answer.items:
                yield item
            if answer.next is None or answer.next == str(params.get(cursor)):
                return
            params = {**params, cursor: answer.next}

    def _open_feed(self, params: Params, last: int | None) -> AbstractAsyncContextManager[httpx2.Response]:
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        if last is not None:
            headers["Last-Event-ID"] = str(last)
        timeout = httpx2.Timeout(self._timeout, read=FEED_SILENCE_S)
        return self._http.stream("GET", "/v1/events", params=params, headers=headers, timeout=timeout)

    async def _read(self, response: httpx2.Response, answer: type[T]) -> T:
        await self._check(response)
        try:
            return answer.model_validate_json(response.content)
        except ValidationError as why:
            raise self._not_ours(response, why) from why

    async def _check(self, response: httpx2.Response) -> None:
        """Raises what the status says; nothing on a 2xx."""
        if response.is_success:
            return
        body = await response.aread()
        if response.headers.get("content-type", "").startswith(CONTENT_TYPE):
            try:
                problem = Problem.model_validate_json(body)
            except ValidationError as why:
                raise self._not_ours(response, why) from why
            raise GatewayRefused(problem, _retry_after(response))
        if response.status_code in (502, 503, 504):
            raise self._unreachable(f"something before it answered {response.status_code}")
        raise self._not_ours(response, f"status {response.status_code} without a problem body")

    def _unreachable(self, why: Exception | str | None) -> OpsgateError:
        said = str(why or "") or type(why).__name__
        return GatewayUnreachable(
            f"The gateway at {self.url} cannot be reached ({said}). Check that it runs and that the URL is right."
        )

    def _not_ours(self, response: httpx2.Response, why: ValidationError | str) -> OpsgateError:
        if isinstance(why, ValidationError):
            first = why.errors(include_url=False, include_input=False)[0]
            why = f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}"
        return BadAnswer(
            f"{self.url} answered {response.request.method} {response.request.url.path} in a way opsgate {__version__} "
            f"does not know ({why}). Check the URL; then bring client and gateway to the same version."
        )


def _given(params: Params) -> Params:
    """Without what was left empty: the gateway's own defaults hold there."""
    return {name: value for name, value in params.items() if value != ""}


def _id(value: str) -> str:
    if not _SAFE_ID.fullmatch(value):
        raise Mistake(f"{value!r} is no id. Ids look like inv_01J9; `opsgate history` lists them.")
    return value


def _header(value: str, name: str) -> str:
    if not _SAFE_HEADER.fullmatch(value):
        raise Mistake(f"The {name} has a blank or a special character in it. Copy it again, without line breaks.")
    return value


def _retry_after(response: httpx2.Response) -> float | None:
    """Seconds. The gateway never sends the form with a date."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() else None
