"""How many places of each Requirement are filled, for people to read. Whether it suffices is the policy's word alone.

A person fills at most one place: places and people are matched, never counted.
"""

from __future__ import annotations

from collections.abc import Iterable

from opsgate.contracts.base import Assurance, PrincipalKind
from opsgate.contracts.decisions import Requirement
from opsgate.contracts.policy import Approval

_ORDER = list(Assurance)


def fits(requirement: Requirement, approval: Approval, requester: str, now_ns: int, request_hash: str) -> bool:
    """Whether this vote could fill a place of this Requirement."""
    needed = requirement.assurance or Assurance.ASSERTED
    return (
        approval.decision == "approve"
        and approval.request_hash == request_hash
        and not approval.revoked
        and approval.at_ns <= now_ns < approval.expires_ns
        and approval.approver.id != requester
        and approval.approver.kind is PrincipalKind.HUMAN
        and approval.approver.verified
        and bool(set(approval.approver.groups) & set(requirement.groups))
        and _ORDER.index(approval.approver.assurance) >= _ORDER.index(needed)
    )


def count_met(
    requirements: Iterable[Requirement],
    approvals: Iterable[Approval],
    requester: str,
    now_ns: int,
    request_hash: str,
) -> dict[str, int]:
    """Filled places per requirement id, in the best matching of people to places (augmenting paths)."""
    wanted = sorted(requirements, key=lambda r: r.id)
    places = [(r, n) for r in wanted for n in range(r.quorum)]
    votes = list(approvals)
    fitting = {
        place: {a.approver.id for a in votes if fits(places[place][0], a, requester, now_ns, request_hash)}
        for place in range(len(places))
    }
    holder: dict[str, int] = {}

    def seat(place: int, tried: set[str]) -> bool:
        for person in sorted(fitting[place]):
            if person in tried:
                continue
            tried.add(person)
            if person not in holder or seat(holder[person], tried):
                holder[person] = place
                return True
        return False

    for place in range(len(places)):
        seat(place, set())
    filled = {r.id: 0 for r in wanted}
    for place in holder.values():
        filled[places[place][0].id] += 1
    return filled
