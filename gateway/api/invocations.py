"""Asking, deciding, cancelling and reading: `/v1/messages` and `/v1/invocations`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from gateway.api.callers import CallerDep, HouseDep, KeyHeader, PersonDep, Posted, answered, posted
from gateway.api.openapi import (
    SIGNED_IN,
    SUBMITTED,
    CancelInvocationBody,
    CastVoteBody,
    InvocationId,
    SendMessageBody,
    SubmitInvocationBody,
    done,
    failures,
)
from gateway.domain import ports
from gateway.domain.arguments import Options
from gateway.domain.directory import Asker
from gateway.domain.errors import Refused, not_found
from gateway.domain.invocation import Invocation, when
from gateway.domain.lifecycle import FINAL
from gateway.domain.words import view
from gateway.flows import cancel, chat, explain, linking, vote
from gateway.flows.drafting import Ask
from gateway.flows.identify import Unlinked
from gateway.flows.submit import submit
from gateway.house import House
from gateway.infra.telemetry import about, current_traceparent
from opsgate.contracts.invocations import (
    Answer,
    ChatContext,
    InvocationView,
    LogLine,
    Page,
    State,
)
from opsgate.contracts.problems import Code

router = APIRouter(prefix="/v1", tags=["invocations"], responses=SIGNED_IN)
CursorQuery = Annotated[str | None, Query(pattern=r"^[0-9]{1,19}\.inv_[0-9a-hjkmnp-tv-z]{10}$")]


@router.post(
    "/messages",
    operation_id="sendMessage",
    responses=done(Answer, invocation="/invocation/id") | failures(404, 409, 422, 429, 503),
)
async def send_message(
    request: Request, house: HouseDep, caller: CallerDep, body: SendMessageBody, key: KeyHeader
) -> Answer:
    """A line typed in a chat, and what to show for it. A typing mistake is an answer too (`kind: mistake`)."""
    try:
        call = await posted(request, house, caller, body, body.evidence, key)
    except Unlinked as nobody:
        return await linking.offer(house.gate, nobody)
    text, context = _as_proven(call, body.text, body.context)

    async def work() -> Answer:
        ask = Ask(text, None, {}, Options(), context, current_traceparent())
        said = await chat.say(house.gate, ask, _placed(call, context), call.once())
        about(said.invocation.id if said.invocation else "")
        return said

    found: Answer = await answered(request, call, work)
    return found


@router.post("/invocations", operation_id="submitInvocation", responses=SUBMITTED | failures(409, 422, 429, 503))
async def submit_invocation(
    request: Request, house: HouseDep, caller: CallerDep, body: SubmitInvocationBody, key: KeyHeader
) -> InvocationView:
    """Ask for a Command. 202: it waits or runs; 200: it was denied (a denial is an answer, with reasons)."""
    call = await posted(request, house, caller, body, body.evidence, key)
    text, context = _as_proven(call, body.text, body.context)

    async def work() -> Response:
        # What the platform signed is all the person said: an adapter adds no reason, ticket or incident to it.
        options = Options() if call.proven else Options(body.reason, body.ticket, body.break_glass)
        ask = Ask(text, body.command, body.args, options, context, current_traceparent())
        once = call.once(_status)
        inv = await submit(house.gate, ask, _placed(call, context), lambda made: once(view(made)))
        about(inv.id)
        shown = view(inv)
        return JSONResponse(shown.model_dump(mode="json", by_alias=True), _status(shown))

    found: Any = await answered(request, call, work)
    return found  # type: ignore[no-any-return]


def _status(shown: Any) -> int:
    return 200 if shown.state in FINAL else 202


def _as_proven(call: Posted, text: str | None, context: ChatContext) -> tuple[str | None, ChatContext]:
    """What the platform signed counts, not what the adapter says of it."""
    if call.proven is None:
        return text, context
    if call.proven.text is None:
        raise Refused(Code.UNPROVEN_ACTOR, 403, "The evidence is not of a typed command.")
    return call.proven.text, call.proven.context


def _placed(call: Posted, context: ChatContext) -> Asker:
    """The web console says where it is by its channel; evidence says its platform itself."""
    if call.proven is None and context.channel:
        return call.asker.model_copy(update={"platform": "web"})
    return call.asker


@router.get("/invocations", operation_id="listInvocations", responses=failures(422, 503))
async def list_invocations(
    house: HouseDep,
    who: PersonDep,
    cursor: CursorQuery = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    state: State | None = None,
    service: Annotated[str | None, Query(max_length=63)] = None,
    channel: Annotated[str | None, Query(max_length=200)] = None,
) -> Page[InvocationView]:
    """Newest first. Follow `next` until it is null."""
    wanted = ports.Query(
        viewer=None if explain.SECURITY in who.principal.groups else who.id,
        state=state.value if state else None,
        service=service,
        channel=channel,
    )
    return await page_of(
        lambda before, most: house.store.invocations(replace(wanted, before=before, limit=most)), cursor, limit
    )


async def page_of(
    read: Callable[[tuple[int, str] | None, int], Awaitable[list[Invocation]]], cursor: str | None, limit: int
) -> Page[InvocationView]:
    """One page of what `read` gives, newest first: it is told after which one to begin, and how many at most."""
    rows = await read(_cursor(cursor), limit + 1)
    more = rows[limit - 1] if len(rows) > limit else None
    following = f"{more.created_ns}.{more.id}" if more else None
    return Page(items=tuple(view(r) for r in rows[:limit]), next=following)


def _cursor(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    at_ns, _, last = text.partition(".")
    return min(int(at_ns), 2**63 - 1), last


async def readable(house: House, invocation_id: str, who: Asker) -> Invocation:
    """Raises Refused (404) when it is not there or not theirs to see."""
    inv = await house.store.invocation(invocation_id)
    if inv is None or (inv.private and inv.asked_by != who.id and explain.SECURITY not in who.principal.groups):
        raise not_found(f"invocation `{invocation_id}`")
    return inv


@router.get("/invocations/{id}", operation_id="getInvocation", responses=failures(404, 422, 503))
async def get_invocation(house: HouseDep, who: PersonDep, id: InvocationId) -> InvocationView:
    return view(await readable(house, id, who))


@router.get("/invocations/{id}/log", operation_id="getLog", responses=failures(404, 422, 503))
async def get_log(
    house: HouseDep,
    who: PersonDep,
    id: InvocationId,
    after: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 500,
) -> Page[LogLine]:
    """The output, oldest first. Ask again with `after` = the last `seq` (also in `next`)."""
    await readable(house, id, who)
    rows = await house.store.lines(id, after, limit + 1)
    items = tuple(LogLine(seq=r.seq, at=when(r.at_ns), text=r.text) for r in rows[:limit])
    return Page(items=items, next=str(items[-1].seq) if len(rows) > limit else None)


@router.post(
    "/invocations/{id}/votes",
    operation_id="castVote",
    responses=done(Answer) | failures(404, 409, 422, 503),
)
async def cast_vote(
    request: Request, house: HouseDep, caller: CallerDep, id: InvocationId, body: CastVoteBody, key: KeyHeader
) -> Answer:
    """Approve, reject, or take it back. `binding_hash` is the one the voter saw; another one is refused."""
    try:
        call = await posted(request, house, caller, body, body.evidence, key)
    except Unlinked as nobody:
        return await linking.offer(house.gate, nobody)
    verdict, shown, said, giver = body.verdict, body.binding_hash, body.reason, body.on_behalf_of
    if call.proven is not None:
        said, giver = "", None  # a button says neither, and an adapter says nothing for anybody
        pressed, on, shown = call.proven.action or ("", "", "")
        if (pressed, on) != (verdict, id):
            raise Refused(Code.UNPROVEN_ACTOR, 403, "The evidence is not of this decision.")

    async def work() -> Answer:
        ballot = vote.Ballot(id, verdict, shown, said, giver)
        return await vote.vote(house.gate, ballot, call.asker, call.once())

    found: Answer = await answered(request, call, work)
    return found


@router.post(
    "/invocations/{id}/cancel", operation_id="cancelInvocation", responses=done(Answer) | failures(404, 409, 422, 503)
)
async def cancel_invocation(
    request: Request,
    house: HouseDep,
    caller: CallerDep,
    id: InvocationId,
    body: CancelInvocationBody,
    key: KeyHeader,
) -> Answer:
    """Stop it: at once before it started, else as soon as the worker can."""
    try:
        call = await posted(request, house, caller, body, body.evidence, key)
    except Unlinked as nobody:
        return await linking.offer(house.gate, nobody)
    if call.proven is not None and (call.proven.action or ("", "", ""))[:2] != ("cancel", id):
        raise Refused(Code.UNPROVEN_ACTOR, 403, "The evidence is not of this cancellation.")

    async def work() -> Answer:
        said = "" if call.proven else body.reason
        return await cancel.cancel(house.gate, id, said, call.asker, call.once())

    found: Answer = await answered(request, call, work)
    return found
