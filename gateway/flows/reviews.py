"""After the glass was broken: somebody else looks at it and closes it. Until then its person cannot break it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gateway.domain.audit_chain import Entry
from gateway.domain.directory import Asker
from gateway.domain.errors import Conflict, Refused, not_found
from gateway.domain.people import CloseReview, Review
from gateway.domain.ports import Change, Once
from gateway.flows.gate import Gate
from gateway.flows.in_person import refuse_others
from gateway.flows.voters import groups_of, one_with_asker
from opsgate.contracts.problems import Code

LISTED = 200


async def reviews(gate: Gate, open_only: bool = False) -> list[Review]:
    """Newest first."""
    return await gate.store.reviews(open_only, LISTED)


async def close(gate: Gate, review_id: str, note: str, who: Asker, once: Callable[[Review], Once | None]) -> Review:
    """The review, closed; `once` is given it before it is written. Raises Refused for the wrong person, Unavailable."""
    refuse_others(who, "close a review")
    # The open ones first: what still blocks somebody is found however much was opened after it.
    found = next((r for r in (*await reviews(gate, True), *await reviews(gate)) if r.id == review_id), None)
    if found is None:
        raise not_found(f"review `{review_id[:40]}`")
    needed = " or ".join(found.groups)
    inv = await gate.store.invocation(found.invocation_id)
    if who.id == found.person or (inv is not None and who.id in one_with_asker(gate, inv)):
        raise Refused(Code.FORBIDDEN, 403, f"You broke the glass yourself; somebody else of {needed} looks at it.")
    if not groups_of(gate, who.id) & set(found.groups):
        raise Refused(Code.FORBIDDEN, 403, f"Only somebody of {needed} closes this review.")
    if len(note.strip()) < 10:
        raise Refused(Code.BAD_INPUT, 422, "Say in a sentence what you found; it goes into the record.")
    now_ns = gate.clock.now_ns()
    body: dict[str, object] = {"review": found.id, "person": found.person, "note": note}
    entry = Entry("review.closed", found.invocation_id, who.id, now_ns, body)
    closed = replace(found, closed_ns=now_ns, closed_by=who.id, note=note)
    write = CloseReview(found.id, who.id, note, now_ns)
    try:
        await gate.store.apply(Change((entry,), people=(write,), once=once(closed)))
    except Conflict:
        raise Refused(Code.NOT_POSSIBLE_NOW, 409, "Somebody closed this review already.") from None
    return closed
