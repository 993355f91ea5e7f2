"""How many places of each Requirement are filled, for people to read. Whether it suffices is the policy's word alone.

A person fills at most one place: places and people are matched, never counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from opsgate.contracts.base import Assurance, PrincipalKind
from opsgate.contracts.decisions import Requirement
from opsgate.contracts.policy import Approval

_ORDER = list(Assurance)
NS = 1_000_000_000


def fits(requirement: Requirement, approval: Approval, askers: Collection[str], now_ns: int, request_hash: str) -> bool:
    """Whether this vote could fill a place of this Requirement. `askers`: everybody who is one with who asked."""
    needed = requirement.assurance or Assurance.VERIFIED
    voter = approval.approver
    return (
        approval.decision == "approve"
        and approval.request_hash == request_hash
        and not approval.revoked
        and approval.at_ns <= now_ns < min(approval.expires_ns, approval.at_ns + requirement.ttl_s * NS)
        and not {voter.id, voter.on_behalf_of} & set(askers)
        and voter.kind is PrincipalKind.HUMAN
        and voter.verified
        and bool(set(voter.groups) & set(requirement.groups))
        and _ORDER.index(voter.assurance) >= _ORDER.index(needed)
    )


def count_met(
    requirements: Iterable[Requirement],
    approvals: Collection[Approval],
    askers: Collection[str],
    now_ns: int,
    request_hash: str,
) -> dict[str, int]:
    """Filled places per requirement id, in the best matching of people to places (augmenting paths)."""
    wanted = sorted(requirements, key=lambda r: r.id)
    places = [(r, n) for r in wanted for n in range(r.quorum)]
    voters = {a.approver.id for a in approvals}
    # Somebody who votes in person is not voted for by another as well.
    votes = [a for a in approvals if a.approver.on_behalf_of not in voters]
    # Two delegates of one person stand for one person.
    fitting = {
        place: {
            a.approver.on_behalf_of or a.approver.id
            for a in votes
            if fits(places[place][0], a, askers, now_ns, request_hash)
        }
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
