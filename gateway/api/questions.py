"""Reading and asking without doing: catalog, what-if, identity, feed, audit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from gateway.api.callers import CallerDep, HouseDep, PersonDep
from gateway.api.openapi import SIGNED_IN, AskDecisionBody, failures, text
from gateway.domain.errors import Refused
from gateway.domain.ports import FeedFilter
from gateway.flows import explain
from gateway.house import House
from opsgate.contracts.audit import AuditRecord
from opsgate.contracts.commands import CommandView, WhatIf, WhoAmI
from opsgate.contracts.invocations import Page
from opsgate.contracts.problems import Code

router = APIRouter(prefix="/v1", tags=["questions"], responses=SIGNED_IN)


@router.get("/commands", operation_id="listCommands", responses=failures(503))
async def list_commands(house: HouseDep, who: PersonDep) -> Page[CommandView]:
    """The catalog, with what you may do: from the policy, per environment."""
    return Page(items=tuple(await explain.commands(house.gate, who)), next=None)


@router.post("/decisions", operation_id="askDecision", responses=failures(422, 503))
async def ask_decision(house: HouseDep, who: PersonDep, body: AskDecisionBody) -> WhatIf:
    """What would be decided. Nothing runs and nothing is kept."""
    return await explain.what_if(house.gate, body.text, who, body.as_person)


@router.get("/whoami", operation_id="whoAmI")
async def who_am_i(house: HouseDep, who: PersonDep) -> WhoAmI:
    p = who.principal
    return WhoAmI(
        id=p.id,
        name=p.name,
        kind=p.kind.value,
        groups=p.groups,
        assurance=who.assurance.value,
        tenant=house.gate.tenant,
    )


@router.get(
    "/events",
    operation_id="followEvents",
    response_class=StreamingResponse,
    responses=text("text/event-stream", "FeedEvents, each with its `id` and `event`") | failures(422),
)
async def follow_events(
    house: HouseDep,
    caller: CallerDep,
    last: Annotated[str | None, Header(alias="Last-Event-ID", pattern=r"^[0-9]{1,18}$")] = None,
    channel: Annotated[str | None, Query(max_length=200)] = None,
    invocation: Annotated[str | None, Query(max_length=40)] = None,
) -> StreamingResponse:
    """Server-Sent Events. Come again with `Last-Event-ID` and nothing is missed."""
    person = caller.asker.principal if caller.asker else None
    sees_all = person is not None and explain.SECURITY in person.groups
    wanted = FeedFilter(person.id if person else "", sees_all, channel, invocation)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_lines(house, int(last) if last else -1, wanted), 200, headers, "text/event-stream")


async def _lines(house: House, after: int, wanted: FeedFilter) -> AsyncIterator[bytes]:
    async for event in house.feed.follow(after, wanted):
        if event is None:
            yield b": keep-alive\n\n"
        else:
            data = event.model_dump_json(by_alias=True)
            yield f"id: {event.id}\nevent: {event.type}\ndata: {data}\n\n".encode()


@router.get("/audit", operation_id="readAudit", responses=failures(422, 503))
async def read_audit(
    house: HouseDep,
    who: PersonDep,
    writer: Annotated[str | None, Query(max_length=63)] = None,
    after: Annotated[str, Query(pattern=r"^([a-z0-9][a-z0-9.-]{0,62}:[0-9]{1,15})?$")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 500,
) -> Page[AuditRecord]:
    """Audit records, chain by chain, oldest first; `after` is the last page's `next`. For security and owners."""
    if not any(g == explain.SECURITY or g.startswith("owners:") for g in who.principal.groups):
        raise Refused(Code.FORBIDDEN, 403, "Only members of security and owners may read the audit log.")
    chain, _, seq = after.partition(":")
    rows = await house.store.audit(writer, (chain, int(seq or 0)), limit + 1)
    more = rows[limit - 1] if len(rows) > limit else None
    return Page(items=tuple(rows[:limit]), next=f"{more.writer}:{more.seq}" if more else None)
