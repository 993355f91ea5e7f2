"""Who fills which place: always the best there is, found by trying every way, and a person fills at most one."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.quorum import count_met, fits
from opsgate.contracts.base import Assurance, PrincipalKind
from opsgate.contracts.decisions import Requirement
from opsgate.contracts.policy import Approval, Approver

NOW = 1_763_989_200_000_000_000
HASH = "sha256:" + "a" * 64
GROUPS = ("owners", "security", "team", "members")
PEOPLE = ("asker", "ann", "ben", "cem", "dee", "eva")


def vote(person: str, *groups: str, **changes: Any) -> Approval:
    """A vote that counts, but for what is changed; `kind`, `verified` and `assurance` are the voter's."""
    who = {name: changes.pop(name) for name in ("kind", "verified", "assurance") if name in changes}
    approver = {"kind": PrincipalKind.HUMAN, "verified": True, "assurance": Assurance.OIDC, **who}
    given = {
        "decision": "approve",
        "platform": "slack",
        "at_ns": NOW - 60,
        "expires_ns": NOW + 60,
        "request_hash": HASH,
        "policy_revision": "r1",
        "requirement_digest": "d1",
        "revoked": False,
        **changes,
    }
    return Approval(
        id=f"vot_{person}", approver=Approver(id=person, groups=groups, on_behalf_of=None, **approver), **given
    )


def requirement(name: str, *groups: str, quorum: int = 1, assurance: Assurance | None = None) -> Requirement:
    return Requirement(id=name, groups=groups, quorum=quorum, ttl_s=3600, assurance=assurance)


def met(requirements: list[Requirement], votes: list[Approval]) -> dict[str, int]:
    return count_met(requirements, votes, ("asker",), NOW, HASH)


SUBSETS = st.lists(st.sampled_from(GROUPS), min_size=1, max_size=3, unique=True)
VOTES = st.lists(
    st.builds(
        lambda person, groups, changes: vote(person, *groups, **changes),
        st.sampled_from(PEOPLE),
        SUBSETS,
        st.sampled_from(
            [
                *[{}] * 6,
                {"decision": "reject"},
                {"revoked": True},
                {"expires_ns": NOW},
                {"request_hash": "sha256:" + "b" * 64},
                {"kind": PrincipalKind.BOT},
                {"verified": False},
                {"assurance": Assurance.ASSERTED},
            ]
        ),
    ),
    max_size=7,
)
REQUIREMENTS = st.lists(
    st.tuples(SUBSETS, st.integers(1, 2), st.sampled_from([None, Assurance.VERIFIED, Assurance.OIDC_MFA])),
    max_size=3,
).map(lambda many: [requirement(f"r{n}", *groups, quorum=q, assurance=a) for n, (groups, q, a) in enumerate(many)])


def ways(requirements: list[Requirement], votes: list[Approval]) -> set[tuple[int, ...]]:
    """Every way to give each person one place or none, as the number of filled places per requirement."""
    choices = []
    for person in sorted({v.approver.id for v in votes}):
        own = [v for v in votes if v.approver.id == person]
        open_to = [n for n, r in enumerate(requirements) if any(fits(r, v, ("asker",), NOW, HASH) for v in own)]
        choices.append([None, *open_to])
    found = set()
    for way in product(*choices):
        filled = tuple(way.count(n) for n in range(len(requirements)))
        if all(have <= r.quorum for have, r in zip(filled, requirements, strict=True)):
            found.add(filled)
    return found


@given(REQUIREMENTS, VOTES)
def test_it_is_as_good_as_trying_every_way(requirements: list[Requirement], votes: list[Approval]) -> None:
    """A real way to seat the people, and none fills more places."""
    filled = met(requirements, votes)
    assert filled.keys() == {r.id for r in requirements}
    counts = tuple(filled[r.id] for r in requirements)
    possible = ways(requirements, votes)
    assert counts in possible
    assert sum(counts) == max(map(sum, possible))


@given(REQUIREMENTS, VOTES)
def test_nobody_fills_two_places(requirements: list[Requirement], votes: list[Approval]) -> None:
    """Never more places than people, and never one for the asker."""
    people = {v.approver.id for v in votes} - {"asker"}
    assert sum(met(requirements, votes).values()) <= len(people)


@given(REQUIREMENTS, VOTES, st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_matters(
    requirements: list[Requirement], votes: list[Approval], order: Any
) -> None:
    """A double click is one vote; who came first is no merit."""
    before = met(requirements, votes)
    again = [*votes, *votes]
    order.shuffle(again)
    order.shuffle(requirements)
    assert met(requirements, again) == before


@given(REQUIREMENTS, VOTES, VOTES)
def test_another_vote_never_empties_a_place(
    requirements: list[Requirement], votes: list[Approval], more: list[Approval]
) -> None:
    """All in all: who was seated may move, but nobody has to leave."""
    assert sum(met(requirements, [*votes, *more]).values()) >= sum(met(requirements, votes).values())


def test_one_person_with_two_hats_is_one_of_two() -> None:
    """An owner who is in security too does not make four eyes."""
    both = [requirement("owners", "owners"), requirement("security", "security")]
    assert sum(met(both, [vote("ann", "owners", "security")]).values()) == 1
    assert met(both, [vote("ann", "owners", "security"), vote("ben", "security")]) == {"owners": 1, "security": 1}


def test_people_are_moved_to_where_they_are_needed() -> None:
    """The one who fits everywhere does not take the only place of another, whoever voted first."""
    three = [requirement("a", "members"), requirement("b", "members", "owners"), requirement("c", "security")]
    votes = [vote("ann", "members", "owners", "security"), vote("ben", "members"), vote("cem", "owners")]
    assert met(three, votes) == {"a": 1, "b": 1, "c": 1}
    assert met(three, votes[::-1]) == {"a": 1, "b": 1, "c": 1}


FLAWS: dict[str, dict[str, Any]] = {
    "a no": {"decision": "reject"},
    "taken back": {"revoked": True},
    "ran out this moment": {"expires_ns": NOW},
    "from the future": {"at_ns": NOW + 1},
    "for another command": {"request_hash": "sha256:" + "b" * 64},
    "t09 a bot's": {"kind": PrincipalKind.BOT},
    "t09 a service's": {"kind": PrincipalKind.SERVICE},
    "t08 of an account nobody linked": {"verified": False},
    "known too weakly": {"assurance": Assurance.OIDC},
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_vote_with_a_flaw_fills_no_place(flaw: str) -> None:
    """Each alone is enough."""
    wanted = [requirement("owners", "owners", assurance=Assurance.OIDC_MFA)]
    good = {"assurance": Assurance.OIDC_MFA}
    assert met(wanted, [vote("ann", "owners", **good)]) == {"owners": 1}
    assert met(wanted, [vote("ann", "owners", **{**good, **FLAWS[flaw]})]) == {"owners": 0}


def test_t07_the_asker_fills_no_place_from_any_account() -> None:
    """One person across all chats: the id is the person's, not the account's."""
    wanted = [requirement("owners", "owners")]
    assert met(wanted, [vote("asker", "owners", platform="slack"), vote("asker", "owners", platform="web")]) == {
        "owners": 0
    }


def test_a_vote_of_somebody_who_lost_the_role_fills_no_place() -> None:
    """The groups are those of now."""
    assert met([requirement("owners", "owners")], [vote("ann", "members")]) == {"owners": 0}


def test_nothing_asked_is_nothing_filled() -> None:
    """No requirement, no count."""
    assert met([], [vote("ann", "owners")]) == {}
