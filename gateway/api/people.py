"""Who people are and what they hold: accounts, tokens, delegations; what waits for them; reviews of broken glass."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request

from gateway.api.callers import CallerDep, HouseDep, KeyHeader, PersonDep, answered, posted
from gateway.api.invocations import CursorQuery, page_of
from gateway.api.openapi import SIGNED_IN, failures
from gateway.domain import people
from gateway.domain.errors import KeyTaken, Refused
from gateway.domain.invocation import when
from gateway.domain.words import view
from gateway.flows import approvals, delegating, linking, reviews, tokens
from gateway.flows.explain import SECURITY
from opsgate.contracts.invocations import InvocationView, Page
from opsgate.contracts.people import (
    PERSON,
    CloseReview,
    Credential,
    Delegation,
    LinkedAccount,
    MadeToken,
    NewDelegation,
    NewToken,
    Review,
)
from opsgate.contracts.problems import Code

router = APIRouter(prefix="/v1", tags=["people"], responses=SIGNED_IN | failures(404, 409, 422, 503))
_RANDOM = "[0-9a-hjkmnp-tv-z]{10}$"
TOLD_ONCE = (
    "A token was made for this Idempotency-Key already, and a token is told only once. Revoke it (`opsgate tokens "
    "list` shows its id) and make another with a new key."
)


# ---- linked accounts -------------------------------------------------------------------------------------------------


@router.get("/links", operation_id="listLinks")
async def list_links(
    house: HouseDep, who: PersonDep, person: Annotated[str | None, Query(pattern=PERSON)] = None
) -> Page[LinkedAccount]:
    """The chat accounts that are you. `person`: those of somebody else, for members of security."""
    if person not in (None, who.id) and SECURITY not in who.principal.groups:
        raise Refused(Code.FORBIDDEN, 403, "Only members of security may see the accounts of others.")
    return Page(items=tuple(await linking.accounts(house.gate, person or who.id)), next=None)


@router.delete("/links/{identity:path}", operation_id="unlink", status_code=204)
async def unlink(
    house: HouseDep,
    who: PersonDep,
    identity: Annotated[str, Path(pattern=r"^[a-z]{1,20}:[^\s/]{1,80}/[^\s/]{1,80}$")],
) -> None:
    """Your account (`platform:workspace/account`) is nobody's from now on; anybody's, for members of security."""
    await linking.unlink(house.gate, identity, who)


# ---- tokens ----------------------------------------------------------------------------------------------------------


@router.post("/tokens", operation_id="makeToken", status_code=201)
async def make_token(request: Request, house: HouseDep, caller: CallerDep, body: NewToken, key: KeyHeader) -> MadeToken:
    """An API token for you or a service account you own, told this once: a second call with the key is refused."""
    call = await posted(request, house, caller, body, None, key)
    if await call.replay() is not None:
        raise Refused(Code.NOT_POSSIBLE_NOW, 409, TOLD_ONCE)

    async def work() -> MadeToken:
        try:
            return await tokens.make(house.gate, body, call.asker, call.once(201))
        except KeyTaken:
            raise Refused(Code.NOT_POSSIBLE_NOW, 409, TOLD_ONCE) from None

    found: MadeToken = await answered(request, call, work)
    return found


@router.get("/tokens", operation_id="listTokens")
async def list_tokens(house: HouseDep, who: PersonDep) -> Page[Credential]:
    """Your API tokens and those of service accounts you own, newest first; never the tokens themselves."""
    return Page(items=tuple(await tokens.tokens(house.gate, who)), next=None)


@router.delete("/tokens/{id}", operation_id="revokeToken", status_code=204)
async def revoke_token(house: HouseDep, who: PersonDep, id: Annotated[str, Path(pattern=f"^tok_{_RANDOM}")]) -> None:
    """It is good for nothing from this moment on."""
    await tokens.revoke(house.gate, id, who)


# ---- delegations -----------------------------------------------------------------------------------------------------


@router.post("/delegations", operation_id="delegate", status_code=201)
async def delegate(
    request: Request, house: HouseDep, caller: CallerDep, body: NewDelegation, key: KeyHeader
) -> Delegation:
    """Somebody may approve in your place for a while, thirty days at most. They cannot hand it on."""
    call = await posted(request, house, caller, body, None, key)

    async def work() -> Delegation:
        return await delegating.make(house.gate, body.to, body.until, body.reason, call.asker, call.once(201))

    found: Delegation = await answered(request, call, work)
    return found


@router.get("/delegations", operation_id="listDelegations")
async def list_delegations(house: HouseDep, who: PersonDep) -> Page[Delegation]:
    """What you gave and what was given to you, newest first, ended ones too."""
    return Page(items=tuple(await delegating.delegations(house.gate, who)), next=None)


@router.delete("/delegations/{id}", operation_id="endDelegation", status_code=204)
async def end_delegation(house: HouseDep, who: PersonDep, id: Annotated[str, Path(pattern=f"^dlg_{_RANDOM}")]) -> None:
    """It ends now, and so do the votes cast by it that still wait. For who gave it, who took it, and security."""
    await delegating.end(house.gate, id, who)


# ---- what waits, and what is to be looked at -------------------------------------------------------------------------


@router.get("/approvals", operation_id="listApprovals")
async def list_approvals(
    house: HouseDep,
    who: PersonDep,
    view_: Annotated[Literal["waiting", "asked", "decided"], Query(alias="view")] = "waiting",
    cursor: CursorQuery = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Page[InvocationView]:
    """`waiting`: for your yes or no, oldest first, all of it. `asked`: by you, and `decided`: by you, newest first."""
    if view_ == "waiting":
        return Page(items=tuple(view(inv) for inv in await approvals.waiting_for(house.gate, who)), next=None)
    read = approvals.asked_by if view_ == "asked" else approvals.decided_by
    return await page_of(lambda before, most: read(house.gate, who, before, most), cursor, limit)


@router.get("/reviews", operation_id="listReviews")
async def list_reviews(house: HouseDep, who: PersonDep, open: bool = False) -> Page[Review]:
    """What was done with the glass broken, newest first. `open`: only what nobody looked at yet."""
    return Page(items=tuple(map(_review, await reviews.reviews(house.gate, open))), next=None)


@router.post("/reviews/{id}/close", operation_id="closeReview")
async def close_review(
    request: Request,
    house: HouseDep,
    caller: CallerDep,
    id: Annotated[str, Path(pattern=f"^rev_{_RANDOM}")],
    body: CloseReview,
    key: KeyHeader,
) -> Review:
    """Somebody else than who broke it says what they found; then that person may break it again."""
    call = await posted(request, house, caller, body, None, key)
    once = call.once()

    async def work() -> Review:
        return _review(await reviews.close(house.gate, id, body.note, call.asker, lambda done: once(_review(done))))

    found: Review = await answered(request, call, work)
    return found


def _review(held: people.Review) -> Review:
    return Review(
        id=held.id,
        invocation_id=held.invocation_id,
        person=held.person,
        groups=held.groups,
        opened_at=when(held.opened_ns),
        due_at=when(held.due_ns),
        closed_at=when(held.closed_ns) if held.closed_ns else None,
        closed_by=held.closed_by,
        note=held.note,
    )
