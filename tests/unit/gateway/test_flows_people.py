"""Accounts, tokens and delegations on the real store: what is refused, what is kept, and from when it counts."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.domain.arguments import Options
from gateway.domain.directory import Asker
from gateway.domain.errors import Mistake, Refused
from gateway.domain.invocation import NS, Invocation, when
from gateway.domain.people import Link, Review
from gateway.domain.ports import Change, Proven
from gateway.flows import approvals, delegating, identify, linking, people_talk, reviews, tokens
from gateway.flows.drafting import Ask
from gateway.flows.folk import Folk
from gateway.flows.submit import submit
from gateway.flows.vote import Ballot, vote
from gateway.infra.store.store import SqlStore
from opsgate.contracts import people as contract
from opsgate.contracts.base import Assurance
from opsgate.contracts.invocations import Answer, ChatContext, State
from tests.unit.gateway.scene import DIRECTORY, MINUTE, Scene, empty_store, scene_in

DAY = 86_400 * NS


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return empty_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
async def scene(empty: Path, tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene_in(tmp_path, empty) as made:
        yield made


def acting(who: Asker, **changed: object) -> Asker:
    return who.model_copy(update=changed)


def no_key(_: object) -> None:
    """Nobody sent an idempotency key."""


async def token(scene: Scene, who: str = "alice", **wish: object) -> contract.MadeToken:
    asked = contract.NewToken.model_validate({"name": "nightly", **wish})
    return await tokens.make(scene.gate, asked, scene.person(who), no_key)


async def holder(scene: Scene, made: contract.MadeToken) -> Asker:
    """Who this token is, if it is anybody."""
    found = (await identify.caller(scene.gate, made.token, scene.keys)).asker  # type: ignore[arg-type]
    assert found is not None
    return found


async def handed(scene: Scene, giver: str, to: str, minutes: int = 60) -> contract.Delegation:
    until = when(scene.clock.now + minutes * MINUTE)
    return await delegating.make(scene.gate, to, until, "on a plane", scene.person(giver), no_key)


async def refusal(call: object) -> Refused:
    with pytest.raises(Refused) as refused:
        await call  # type: ignore[misc]
    return refused.value


# ---- tokens ----------------------------------------------------------------------------------------------------------


async def test_a_token_is_told_once_and_kept_only_as_a_hash(scene: Scene, tmp_path: Path) -> None:
    """Neither the database nor the audit log nor any list has it."""
    made = await token(scene, scopes=("write", "read", "read"))
    assert made.token.startswith("opt_")
    assert len(made.token) == 47
    assert made.credential.scopes == ("read", "write")
    (listed,) = await tokens.tokens(scene.gate, scene.person("alice"))
    assert listed == made.credential
    scene.store.close()
    with sqlite3.connect(tmp_path / "opsgate.db") as everything:
        assert made.token not in "\n".join(everything.iterdump())


async def test_a_token_is_its_person_with_scopes_and_its_use_is_seen(scene: Scene) -> None:
    """Known as verified and no better, however its maker had signed in."""
    made = await token(scene)
    found = await holder(scene, made)
    assert (found.id, found.method, found.assurance) == ("alice", "api_token", Assurance.VERIFIED)
    assert (found.scopes, found.mfa_at_ns) == (("read",), 0)
    (listed,) = await tokens.tokens(scene.gate, scene.person("alice"))
    assert listed.last_used_at == when(scene.clock.now)


async def test_a_revoked_or_expired_token_is_nothing_from_that_moment(scene: Scene) -> None:
    """Also at a gateway that saw it a moment ago: nothing about it is remembered."""
    revoked, old = await token(scene), await token(scene, expires_in_days=1)
    await holder(scene, revoked)
    await tokens.revoke(scene.gate, revoked.credential.id, scene.person("alice"))
    assert (await refusal(holder(scene, revoked))).status == 401
    await tokens.revoke(scene.gate, revoked.credential.id, scene.person("alice"))
    scene.clock.now += DAY - 1
    await holder(scene, old)
    scene.clock.now += 1
    assert (await refusal(holder(scene, old))).status == 401
    kinds = [r.kind for r in await scene.store.audit(None, ("", 0), 100)]
    assert kinds == ["token.made", "token.made", "token.revoked"]


@pytest.mark.parametrize("gone", ["alice", "ci-bot"])
async def test_a_token_ends_with_its_account_and_with_its_owner(scene: Scene, gone: str) -> None:
    """Deactivated in the directory: the next call finds nobody."""
    made = await token(scene, account="ci-bot")
    assert (await holder(scene, made)).id == "ci-bot"
    people = [p.model_copy(update={"active": p.id != gone}) for p in DIRECTORY.people]
    scene.directory = type(DIRECTORY).model_validate({**DIRECTORY.model_dump(by_alias=True), "people": people})
    assert (await refusal(holder(scene, made))).status == 401


async def test_t09_a_token_of_a_former_owner_is_nothing(scene: Scene) -> None:
    """Alice still knows it, and would not count as one with the account any more: she could approve what it asks."""
    made = await token(scene, account="ci-bot")
    people = [p.model_copy(update={"owner": "bob"}) if p.id == "ci-bot" else p for p in DIRECTORY.people]
    scene.directory = type(DIRECTORY).model_validate({**DIRECTORY.model_dump(by_alias=True), "people": people})
    refused = await refusal(holder(scene, made))
    assert (refused.status, "does not own" in refused.detail) == (401, True)
    assert [t.id for t in await tokens.tokens(scene.gate, scene.person("bob"))] == [made.credential.id]


async def test_only_an_owner_makes_tokens_of_an_account(scene: Scene) -> None:
    """An account of another, and another person, look like accounts that do not exist."""
    for account in ("ci-bot", "alice", "nobody"):
        assert (await refusal(token(scene, "bob", account=account))).status == 404
    made = await token(scene, account="ci-bot")
    assert (await refusal(tokens.revoke(scene.gate, made.credential.id, scene.person("bob")))).status == 404
    assert await tokens.tokens(scene.gate, scene.person("bob")) == []


@pytest.mark.parametrize(
    "changed", [{"method": "api_token"}, {"actors": ("bob",)}, {"principal": DIRECTORY.person("ci-bot")}]
)
async def test_only_a_human_in_person_makes_and_ends_things(scene: Scene, changed: dict[str, object]) -> None:
    """Not a token, not a service account, not somebody who acts for a person: no right begets another."""
    who = acting(scene.person("alice"), **changed)
    wish = contract.NewToken(name="more")
    until = when(scene.clock.now + MINUTE)
    for call in (
        tokens.make(scene.gate, wish, who, no_key),
        tokens.revoke(scene.gate, "tok_0123456789", who),
        delegating.make(scene.gate, "bob", until, "because", who, no_key),
        delegating.end(scene.gate, "dlg_0123456789", who),
        linking.look(scene.gate, "x" * 43, who),
        linking.confirm(scene.gate, "x" * 43, who),
        linking.unlink(scene.gate, "slack:T0ACME/U0NEW", who),
    ):
        assert (await refusal(call)).status == 403
    assert await scene.store.audit(None, ("", 0), 10) == []


async def test_somebody_answers_for_fifty_tokens_at_most(scene: Scene) -> None:
    """Those that ended do not count."""
    made = [await token(scene, account="ci-bot" if n % 2 else None) for n in range(tokens.MOST)]
    assert (await refusal(token(scene))).status == 409
    await tokens.revoke(scene.gate, made[0].credential.id, scene.person("alice"))
    await token(scene)


async def test_t09_an_api_token_cannot_vote_and_an_owner_not_on_what_it_asked(scene: Scene) -> None:
    """Bob's own token is no Bob at the ballot; and Alice, who answers for ci-bot, is one with it."""
    by_bot = await holder(scene, await token(scene, account="ci-bot", scopes=("write",)))
    ask = Ask("deploy production api-service --version 1.4.2", None, {}, Options(), ChatContext())
    asked = await submit(scene.gate, ask, by_bot, lambda inv: None)
    assert asked.state is State.PENDING
    own = await _vote(scene, asked, scene.person("alice"))
    assert (own.kind, "on your account" in own.card.text) == ("refusal", True)
    by_token = await _vote(scene, asked, await holder(scene, await token(scene, "bob")))
    assert (by_token.kind, "API token cannot vote" in by_token.card.text) == ("refusal", True)
    assert (await scene.now(asked)).votes == ()
    assert (await scene.audited(asked.id)).count("vote.approve.refused") == 2
    assert (await _vote(scene, asked, scene.person("bob"))).kind == "invocation"


async def _vote(scene: Scene, inv: Invocation, who: Asker, on_behalf_of: str | None = None) -> Answer:
    ballot = Ballot(inv.id, "approve", inv.binding_hash, "", on_behalf_of)
    return await vote(scene.gate, ballot, who, no_key)


# ---- delegations -----------------------------------------------------------------------------------------------------


async def test_a_delegate_votes_as_the_giver_and_both_stand_in_the_record(scene: Scene) -> None:
    """Carol is no owner; with Bob's approvals handed to her she is asked, and votes for Bob."""
    asked = await scene.ask()
    assert await approvals.waiting_for(scene.gate, scene.person("carol")) == []
    await handed(scene, "bob", "carol")
    assert [i.id for i in await approvals.waiting_for(scene.gate, scene.person("carol"))] == [asked.id]
    answer = await _vote(scene, asked, scene.person("carol"))
    assert answer.invocation is not None
    (counted,) = answer.invocation.votes
    assert counted.on_behalf_of is not None
    assert (counted.by.id, counted.on_behalf_of.id) == ("carol", "bob")
    assert answer.invocation.state is State.QUEUED
    (record,) = [r for r in await scene.store.audit(None, ("", 0), 100) if r.kind == "vote.approve"]
    assert (record.actor, record.body["on_behalf_of"]) == ("carol", "bob")


async def test_a_right_never_comes_back_to_who_asked(scene: Scene) -> None:
    """Bob hands his approvals to Alice, who asked; and what Bob asked, nobody approves in his place."""
    await handed(scene, "bob", "alice")
    asked = await scene.ask()
    for on_behalf_of in (None, "bob"):
        answer = await _vote(scene, asked, scene.person("alice"), on_behalf_of)
        assert (answer.kind, "asked for this yourself" in answer.card.text) == ("refusal", True)
    await handed(scene, "bob", "carol")
    own = await scene.ask("deploy production api-service --version 1.4.3", "bob")
    answer = await _vote(scene, own, scene.person("carol"), "bob")
    assert (answer.kind, "in their place" in answer.card.text) == ("refusal", True)


async def test_what_was_handed_to_one_is_not_handed_on(scene: Scene) -> None:
    """Bob to Carol, Carol to Dave: Dave has Carol's approvals, and none of Bob's."""
    await handed(scene, "bob", "carol")
    await handed(scene, "carol", "dave")
    assert scene.gate.directory.givers("dave", scene.clock.now) == ("carol",)
    asked = await scene.ask()
    for on_behalf_of in (None, "carol", "bob"):
        assert (await _vote(scene, asked, scene.person("dave"), on_behalf_of)).kind == "refusal"


async def test_an_ended_delegation_counts_no_more_not_even_for_votes_cast_by_it(scene: Scene) -> None:
    """By who gave it, by who took it, by security; by nobody else, and once."""
    made = await handed(scene, "bob", "carol")
    asked = await scene.ask()
    assert (await refusal(delegating.end(scene.gate, made.id, scene.person("alice")))).status == 404
    await _vote(scene, asked, scene.person("carol"))
    queued = await scene.message()
    await delegating.end(scene.gate, made.id, scene.person("carol"))
    assert (await scene.claim(queued)).verdict == "skip"
    assert (await scene.now(asked)).state is State.PENDING
    assert (await refusal(delegating.end(scene.gate, made.id, scene.person("bob")))).status == 409
    (listed,) = await delegating.delegations(scene.gate, scene.person("bob"))
    assert listed.ended_at == when(scene.clock.now)
    by_security = await handed(scene, "bob", "dave")
    await delegating.end(scene.gate, by_security.id, scene.person("carol"))


@pytest.mark.parametrize(
    ("to", "minutes", "reason"),
    [
        ("bob", 60, "to myself"),
        ("ci-bot", 60, "to a machine"),
        ("nobody", 60, "to nobody"),
        ("opsgate", 60, "to the gateway"),
        ("carol", 0, "over at once"),
        ("carol", 30 * 1440 + 1, "for ever"),
        ("carol", 60, "  x "),
    ],
)
async def test_what_cannot_be_handed_on(scene: Scene, to: str, minutes: int, reason: str) -> None:
    """Each refused with what would be right, and nothing is kept."""
    until = when(scene.clock.now + minutes * MINUTE)
    refused = await refusal(delegating.make(scene.gate, to, until, reason, scene.person("bob"), no_key))
    assert refused.status == 422
    assert (await scene.store.people()).delegations == ()


async def test_thirty_days_is_the_longest_and_it_ends_by_itself(scene: Scene) -> None:
    """To the minute."""
    await handed(scene, "bob", "carol", 30 * 1440)
    assert scene.gate.directory.may_vote_for("carol", "bob", scene.clock.now + 30 * DAY - MINUTE)
    assert not scene.gate.directory.may_vote_for("carol", "bob", scene.clock.now + 30 * DAY)


# ---- accounts, at two gateways ---------------------------------------------------------------------------------------


async def test_a_link_counts_at_every_gateway_from_the_next_call_on(scene: Scene, tmp_path: Path) -> None:
    """Made or undone at one, the other compares versions before it says who speaks."""
    url = f"sqlite:///{tmp_path / 'opsgate.db'}"
    there = SqlStore(url, "gateway-2", [])
    folk = Folk(there, lambda: scene.directory, scene.clock)
    identity = "slack:T0ACME/U0NEW"
    try:
        await scene.store.apply(Change((), people=(Link(identity, "alice", scene.clock.now),)))
        assert folk.directory.by_identity(identity) is None
        await folk.catch_up(await there.people_version())
        found = folk.directory.by_identity(identity)
        assert found is not None
        assert found.id == "alice"
        await linking.unlink(scene.gate, identity, scene.person("alice"))
        await folk.catch_up(await there.people_version())
        assert folk.directory.by_identity(identity) is None
    finally:
        there.close()


async def test_an_account_of_somebody_deactivated_is_offered_no_link(scene: Scene) -> None:
    """Else it would become whoever follows the link first."""
    scene.gate.signs_in = True
    people = [p.model_copy(update={"active": p.id != "dave"}) for p in DIRECTORY.people]
    scene.directory = type(DIRECTORY).model_validate({**DIRECTORY.model_dump(by_alias=True), "people": people})
    for text in ("help", "whoami"):
        answer = await linking.offer(scene.gate, unlinked("slack:T0ACME/U0DAVE", text))
        assert (answer.card.links, "not active any more" in answer.card.text) == ((), True)


async def test_without_a_provider_the_operator_is_named_instead_of_a_link(scene: Scene) -> None:
    """A link that nobody could follow helps nobody."""
    for text, kind in (("help", "help"), ("deploy staging api-service", "refusal")):
        answer = await linking.offer(scene.gate, unlinked("slack:T0ACME/U0NEW", text))
        assert (answer.kind, answer.card.links, "operator" in answer.card.text) == (kind, (), True)
    assert [r.kind for r in await scene.store.audit(None, ("", 0), 9)] == ["link.refused"] * 2


def unlinked(identity: str, text: str) -> identify.Unlinked:
    return identify.Unlinked(Proven(identity, "T0ACME", "A0OPSGATE", ChatContext(), "key", text=text), "slack")


# ---- lists, reviews, and the words for it in chat --------------------------------------------------------------------


async def test_what_i_asked_and_what_i_decided_are_lists_newest_first(scene: Scene) -> None:
    """Without what only reads, and without a vote that was taken back; page by page."""
    first, second = await scene.ask(), await scene.ask("restart production api-service")
    scene.clock.now += NS
    third = await scene.ask("rollback production api-service")
    for inv in (first, third):
        await scene.vote(inv)
    await scene.vote(second)
    mine = await approvals.asked_by(scene.gate, scene.person("alice"), None, 10)
    assert mine[0].id == third.id
    assert {i.id for i in mine[1:]} == {first.id, second.id}
    older = await approvals.asked_by(scene.gate, scene.person("alice"), (mine[0].created_ns, mine[0].id), 10)
    assert [i.id for i in older] == [i.id for i in mine[1:]]
    decided = await approvals.decided_by(scene.gate, scene.person("bob"), None, 2)
    assert [i.id for i in decided] == [i.id for i in mine[:2]]
    assert await approvals.decided_by(scene.gate, scene.person("alice"), None, 10) == []
    ballot = Ballot(third.id, "withdraw", third.binding_hash)
    await vote(scene.gate, ballot, scene.person("bob"), no_key)
    assert third.id not in [i.id for i in await approvals.decided_by(scene.gate, scene.person("bob"), None, 10)]


async def test_a_review_is_closed_by_somebody_else_once(scene: Scene) -> None:
    """And the answer that is kept for its key is the one that was given."""
    now = scene.clock.now
    row = Review("rev_0123456789", "inv_0123456789", "bob", ("security", "owners:api-service"), now, now + DAY)
    await scene.store.apply(Change((), people=(row,)))
    note = "the disk was full"
    assert (await refusal(reviews.close(scene.gate, row.id, note, scene.person("bob"), no_key))).status == 403
    assert (await refusal(reviews.close(scene.gate, row.id, note, scene.person("dave"), no_key))).status == 403
    kept: list[Review] = []
    closed = await reviews.close(scene.gate, row.id, note, scene.person("carol"), kept.append)
    assert [closed] == kept == await reviews.reviews(scene.gate)
    assert (await refusal(reviews.close(scene.gate, row.id, note, scene.person("carol"), no_key))).status == 409


async def typed(scene: Scene, line: str, who: str = "bob") -> Answer:
    word, *rest = line.split()
    ask = Ask(line, None, {}, Options(), ChatContext())
    return await people_talk.TALK[word](scene.gate, rest, ask, scene.person(who), no_key)


async def test_people_type_about_themselves(scene: Scene) -> None:
    """Accounts, tokens and delegations in words; a token itself never."""
    made = await token(scene, "bob")
    shown = await typed(scene, "tokens")
    assert made.credential.id in shown.card.bullets[0]
    assert made.token not in shown.model_dump_json()
    assert "slack:T0ACME/U0BOB (by the directory)" in (await typed(scene, "links")).card.bullets
    await typed(scene, "delegate carol 8h on a plane")
    (line,) = (await typed(scene, "delegations")).card.bullets
    assert line.startswith("carol approves for you until")
    assert line.endswith(")")
    (theirs,) = (await typed(scene, "delegations", "carol")).card.bullets
    assert theirs.startswith("you approve for bob until")
    await typed(scene, f"undelegate {line.rpartition('(')[2].removesuffix(')')}")
    assert (await typed(scene, "delegations")).card.bullets == ()


@pytest.mark.parametrize(
    "line",
    [
        "unlink",
        "unlink x",
        "delegate",
        "delegate carol",
        "delegate carol soon why",
        "delegate crol 8h why",
        "undelegate x",
    ],
)
async def test_a_line_that_is_not_right_says_what_would_be(scene: Scene, line: str) -> None:
    """With a suggestion or an example."""
    with pytest.raises(Mistake) as mistake:
        await typed(scene, line)
    assert mistake.value.suggestion or mistake.value.examples
