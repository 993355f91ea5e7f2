"""What the store keeps of people: one-time codes, accounts, credentials, delegations, reviews, and their version."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import Engine, event

from gateway.domain.errors import AlreadyLinked, CodeUsed, Conflict
from gateway.domain.invocation import NS
from gateway.domain.people import (
    CloseReview,
    Code,
    Credential,
    CredentialKind,
    Delegation,
    EndDelegation,
    Known,
    Link,
    Review,
    Revoke,
    Unknown,
    Unlink,
    UseCode,
    Used,
    Write,
)
from gateway.domain.ports import Change
from gateway.infra.store.store import SqlStore
from opsgate.contracts.base import Assurance
from tests.integration.stores import T0, Place, asked, audit_of, entry, invocation

SECRET = "opt_" + "x" * 43
HOUR = 3600 * NS
SLACK = "slack:T0ACME/U0ALICE"


def digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def code(name: str = "a", **fields: Any) -> Code:
    return replace(Code(digest(name), "link", "", "{}", T0 + HOUR), **fields)


def credential(name: str, account: str = "alice", kind: CredentialKind = "api", **fields: Any) -> Credential:
    made = Credential(
        id=name,
        kind=kind,
        digest=digest(name),
        account=account,
        owner=account,
        name=f"of {account}",
        scopes=("deploy", "status"),
        assurance=Assurance.OIDC_MFA,
        mfa_at_ns=T0,
        created_ns=T0,
        used_ns=0,
        idle_ns=0,
        expires_ns=T0 + HOUR,
    )
    return replace(made, **fields)


def known(**fields: Any) -> Known:
    return replace(Known("sub-1", "alice", "Alice", ("members", "developers"), T0, T0 + HOUR), **fields)


def delegation(name: str = "del_1", **fields: Any) -> Delegation:
    return replace(Delegation(name, "bob", "carol", "holidays", T0, T0 + HOUR), **fields)


def review(name: str = "rev_1", person: str = "alice", **fields: Any) -> Review:
    return replace(Review(name, f"inv_{name}", person, ("security",), T0, T0 + HOUR), **fields)


async def write(store: SqlStore, *writes: Write) -> None:
    await store.apply(Change((entry(kind="people.changed"),), people=writes))


async def told(*calls: Any) -> list[Any]:
    return list(await asyncio.gather(*calls, return_exceptions=True))


# ---- what is used once -----------------------------------------------------------------------------------------------


async def test_of_twenty_uses_at_once_exactly_one_wins(place: Place) -> None:
    """At two gateways, with what it was for: nineteen leave nothing behind, not even in the audit log."""
    stores = [place.store("gateway-1"), place.store("gateway-2")]
    await write(stores[0], code())
    effects = [Link(f"slack:T0ACME/U{n}", "alice", T0) for n in range(20)]
    uses = [
        Change((entry(kind="linked"),), people=(UseCode(code().digest, T0 + n), effect))
        for n, effect in enumerate(effects)
    ]
    answers = await told(*(stores[n % 2].apply(use) for n, use in enumerate(uses)))
    [won] = [n for n, answer in enumerate(answers) if answer is None]
    assert sum(isinstance(answer, CodeUsed) for answer in answers) == 19
    assert await stores[0].links("alice") == [effects[won]]
    assert [r.kind for r in await audit_of(stores[0])].count("linked") == 1
    found = await stores[1].code(code().digest)
    assert found == code(used_ns=T0 + won)


@pytest.mark.parametrize(
    ("kept", "use"),
    [
        (code(expires_ns=T0 + 5), UseCode(code().digest, T0 + 5)),
        (code(expires_ns=T0 + 5), UseCode(code().digest, T0 + HOUR)),
        (code(used_ns=T0), UseCode(code().digest, T0 + 1)),
        (code("another"), UseCode(code().digest, T0)),
        (code(), UseCode("a", T0)),
    ],
    ids=["expired this moment", "expired", "used", "unknown", "the secret for its digest"],
)
async def test_a_code_that_does_not_hold_is_refused(place: Place, kept: Code, use: UseCode) -> None:
    """Whatever is wrong with it, the answer is the same, and what it was for is not done."""
    store = place.store()
    await write(store, kept)
    with pytest.raises(CodeUsed):
        await write(store, Link(SLACK, "mallory", T0), use)
    assert await store.links("mallory") == []
    assert await store.code(kept.digest) == kept


async def test_a_code_holds_until_the_last_moment(place: Place) -> None:
    """A nanosecond before."""
    store = place.store()
    await write(store, code(expires_ns=T0 + 5))
    await write(store, UseCode(code().digest, T0 + 4))
    with pytest.raises(Conflict):
        await write(store, code())  # its digest is there for good


# ---- accounts --------------------------------------------------------------------------------------------------------


async def test_an_account_is_one_persons_until_it_is_unlinked(place: Place) -> None:
    """Linking it again for the same person is harmless; for another it is refused."""
    store = place.store()
    await write(store, Link(SLACK, "alice", T0))
    await write(store, Link(SLACK, "alice", T0 + 1))
    with pytest.raises(AlreadyLinked):
        await write(store, Link(SLACK, "mallory", T0 + 2))
    assert (await store.people()).links == {SLACK: "alice"}
    assert await store.links("alice") == [Link(SLACK, "alice", T0)]
    await write(store, Unlink(SLACK))
    await write(store, Unlink(SLACK))
    await write(store, Link(SLACK, "bob", T0 + 3))
    assert (await store.people()).accounts == {"bob": (SLACK,)}


async def test_of_two_persons_who_link_the_same_account_at_once_one_has_it(place: Place) -> None:
    """Whoever's transaction was the first."""
    stores = [place.store("gateway-1"), place.store("gateway-2")]
    names = [f"person-{n}" for n in range(20)]
    answers = await told(*(write(stores[n % 2], Link(SLACK, name, T0)) for n, name in enumerate(names)))
    [won] = [name for name, answer in zip(names, answers, strict=True) if answer is None]
    assert sum(isinstance(answer, AlreadyLinked) for answer in answers) == 19
    assert (await stores[0].people()).links == {SLACK: won}


async def test_a_person_is_known_by_one_subject_as_they_last_signed_in(place: Place) -> None:
    """The next sign-in replaces what was known; another subject cannot become the same person."""
    store = place.store()
    await write(store, known())
    await write(store, known(name="Alice L.", groups=(), seen_ns=T0 + 1))
    assert (await store.people()).known == {"sub-1": known(name="Alice L.", groups=(), seen_ns=T0 + 1)}
    with pytest.raises(Conflict):
        await write(store, known(subject="sub-2"))


# ---- credentials -----------------------------------------------------------------------------------------------------


async def test_a_credential_is_found_by_its_digest_and_as_it_was_made(place: Place) -> None:
    """By whom it speaks as, and by who answers for it."""
    store = place.store()
    mine, robots = credential("1"), credential("2", "robot", owner="alice", scopes=(), created_ns=T0 + 1)
    await write(store, mine, robots, credential("3", "bob"))
    assert await store.credential(mine.digest) == mine
    assert await store.credential("1") is None
    assert await store.credentials(["alice"]) == [mine, robots]
    with pytest.raises(Conflict):
        await write(store, credential("4", digest=mine.digest))
    await write(store, Used("1", T0 + 9))
    await write(store, Used("1", T0 + 8))  # an older use, written late
    assert await store.credential(mine.digest) == replace(mine, used_ns=T0 + 9)


async def test_credentials_are_ended_by_account_and_kind_or_one_by_one(place: Place) -> None:
    """Nobody else's, no other kind, and an end is not moved to a later time."""
    store = place.store()
    kinds: tuple[CredentialKind, ...] = ("console", "cli", "api")
    await write(store, *(credential(f"{a}-{k}", a, k) for a in ("alice", "bob") for k in kinds))
    ended = {c.id: c.revoked_ns for c in await store.credentials(["alice", "bob"])}
    assert set(ended.values()) == {0}
    await write(store, Revoke(T0 + 1, account="alice", kinds=("console", "cli")))
    await write(store, Revoke(T0 + 2, account="alice", kinds=("console",)))
    await write(store, Revoke(T0 + 3, id="bob-api"))
    await write(store, Revoke(T0 + 4, account="alice"))
    ended |= {"alice-console": T0 + 1, "alice-cli": T0 + 1, "bob-api": T0 + 3}
    assert {c.id: c.revoked_ns for c in await store.credentials(["alice", "bob"])} == ended


async def test_no_secret_is_kept_only_its_digest(place: Place) -> None:
    """Whoever reads the whole database can sign in as nobody."""
    store = place.store()
    await write(store, credential("1", digest=digest(SECRET)), code(digest=digest(SECRET)))
    await write(store, UseCode(digest(SECRET), T0))
    assert await store.credential(digest(SECRET)) is not None
    for table in ("credentials", "codes", "audit"):
        rows = place.sql(f"SELECT * FROM {table}")
        assert rows
        assert SECRET not in repr(rows)
    for stored in [c[0] for t in ("credentials", "codes") for c in place.sql(f"SELECT digest FROM {t}")]:
        assert (len(stored), set(stored) <= set("0123456789abcdef")) == (64, True)


# ---- delegations and reviews -----------------------------------------------------------------------------------------


async def test_a_delegation_ends_once(place: Place) -> None:
    """The giver and the taker see it, ended or not; decisions see what has not ended."""
    store = place.store()
    await write(store, delegation(), delegation("del_2", giver="dave", from_ns=T0 + 1))
    assert (await store.people()).delegations == (delegation(), delegation("del_2", giver="dave", from_ns=T0 + 1))
    answers = await told(*(write(store, EndDelegation("del_1", T0 + n)) for n in range(1, 6)))
    assert answers.count(None) == 1
    assert sum(isinstance(answer, Conflict) for answer in answers) == 4
    assert [d.id for d in (await store.people()).delegations] == ["del_2"]
    assert [d.id for d in await store.delegations("carol", 10)] == ["del_2", "del_1"]
    assert [d.id for d in await store.delegations("bob", 10)] == ["del_1"]
    assert [d.id for d in await store.delegations("carol", 1)] == ["del_2"]


async def test_a_person_has_one_open_review(place: Place) -> None:
    """Who breaks the glass twice at once, at two gateways, gets one of them; the other is decided again."""
    stores = [place.store("gateway-1"), place.store("gateway-2")]
    change = [replace(asked(invocation(n)), people=(review(f"rev_{n}"),)) for n in range(20)]
    answers = await told(*(stores[n % 2].apply(c) for n, c in enumerate(change)))
    [won] = [n for n, answer in enumerate(answers) if answer is None]
    assert sum(isinstance(answer, Conflict) for answer in answers) == 19
    assert place.counts()["invocations"] == 1
    await write(stores[0], review("rev_bob", "bob", opened_ns=T0 + 1))
    assert [r.id for r in await stores[0].reviews(True, 10)] == ["rev_bob", f"rev_{won}"]
    other = invocation(99)
    assert [f.recent.open_reviews for f in await stores[0].facts([other], T0)] == [1]


async def test_a_review_is_closed_once_and_then_another_may_be_opened(place: Place) -> None:
    """By whom and with which words is kept."""
    store = place.store()
    await write(store, review())
    closing = [CloseReview("rev_1", name, "Looked at it", T0 + 5) for name in ("carol", "heidi", "ivan")]
    answers = await told(*(write(store, close) for close in closing))
    [won] = [n for n, answer in enumerate(answers) if answer is None]
    assert sum(isinstance(answer, Conflict) for answer in answers) == 2
    closed = review(closed_ns=T0 + 5, closed_by=closing[won].by, note="Looked at it")
    assert await store.reviews(False, 10) == [closed]
    assert await store.reviews(True, 10) == []
    await write(store, review("rev_2", opened_ns=T0 + 9))
    assert [r.id for r in await store.reviews(False, 1)] == ["rev_2"]


# ---- the version of the snapshot -------------------------------------------------------------------------------------


async def test_the_version_rises_with_every_write_that_changes_the_snapshot_and_with_no_other(place: Place) -> None:
    """Every gateway compares it before it decides; what rises needlessly is read needlessly."""
    store = place.store()
    changing: list[Write] = [Link(SLACK, "alice", T0), Unlink(SLACK), known(), Unknown("sub-1"), delegation()]
    changing += [EndDelegation("del_1", T0)]
    others: list[Write] = [
        credential("1"), Used("1", T0 + 1), Revoke(T0, id="1"), code(), UseCode(code().digest, T0),
        review(), CloseReview("rev_1", "carol", "", T0),
    ]  # fmt: skip
    assert {type(given) for given in changing + others} == set(Write.__args__)
    for given, step in [(given, 1) for given in changing] + [(given, 0) for given in others]:
        before = await store.people_version()
        await write(store, given)
        after = await store.people_version()
        assert (given, after - before) == (given, step)
        assert (await store.people()).version == after
        assert [f.people for f in await store.facts([invocation()], T0)] == [after]


async def test_a_write_that_fails_does_not_raise_the_version(place: Place) -> None:
    """Nothing has changed."""
    store = place.store()
    await write(store, Link(SLACK, "alice", T0))
    before = await store.people_version()
    with pytest.raises(CodeUsed):
        await write(store, Unlink(SLACK), UseCode("never made", T0))
    assert await store.people_version() == before
    assert (await store.people()).links == {SLACK: "alice"}


async def test_a_snapshot_never_looks_newer_than_it_is(place: Place) -> None:
    """A link made by another gateway while one reads is seen, or the version says that there is more to read."""
    store, other = place.store("gateway-1"), place.store("gateway-2")
    for n, table in enumerate(["links", "versions", "known", "delegations"]):
        link = Link(f"slack:T0ACME/U{n}", "alice", T0)
        with written_after_reading(table, other, link):
            seen = await store.people()
        assert link.identity in seen.links or seen.version < await store.people_version()
        assert link.identity in (await store.people()).links


@contextmanager
def written_after_reading(table: str, store: SqlStore, given: Write) -> Iterator[None]:
    """Once, right after the first question to this table was answered."""
    left = [given]

    def listen(_: object, __: object, statement: str, *___: object) -> None:
        if left and f"FROM {table}" in statement.replace("\n", ""):
            asyncio.run(write(store, left.pop()))

    event.listen(Engine, "after_cursor_execute", listen)
    try:
        yield
    finally:
        event.remove(Engine, "after_cursor_execute", listen)
    assert not left
