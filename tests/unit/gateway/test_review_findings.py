"""What a hostile reading of the people behind approvals found: each way that was open, tried again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.domain.arguments import Options
from gateway.domain.deciding import askers
from gateway.domain.directory import Asker, Directory, Principal
from gateway.domain.errors import Refused
from gateway.domain.identity import Asking, Identified, Returned
from gateway.domain.invocation import NS, Invocation
from gateway.domain.people import Code, Credential, Delegation, Known, People, Review
from gateway.domain.ports import Change
from gateway.domain.quorum import count_met
from gateway.flows import reviews, terminals
from gateway.flows.drafting import Ask
from gateway.flows.folk import Folk
from gateway.flows.reconcile import SESSIONS_KEPT_NS, reconcile
from gateway.flows.sessions import Signed, new_credential
from gateway.flows.sign_in import begin, open_session, prove
from gateway.flows.submit import submit
from gateway.flows.vote import Ballot, vote
from opsgate.contracts.base import Assurance
from opsgate.contracts.decisions import Requirement
from opsgate.contracts.invocations import Answer, ChatContext, State
from opsgate.contracts.policy import PolicyInput
from tests.unit.gateway.scene import (
    DIRECTORY,
    LINE,
    OWNERS,
    SECURITY,
    Scene,
    empty_store,
    needs,
    scene_in,
)

HOUR = 3600 * NS
NOTE = "the disk was full, nothing else"


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return empty_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
async def scene(empty: Path, tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene_in(tmp_path, empty) as made:
        yield made


def no_key(_: object) -> None:
    """Nobody sent an idempotency key."""


async def cast(scene: Scene, inv: Invocation, who: Asker, verdict: Any = "approve") -> Answer:
    return await vote(scene.gate, Ballot(inv.id, verdict, inv.binding_hash), who, no_key)


def listed(*people: Principal) -> Directory:
    return Directory(people=people)


# ---- who is one with whom --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", ["approve", "reject"])
async def test_t07_whoever_acts_for_a_voter_casts_no_vote(scene: Scene, verdict: str) -> None:
    """Alice asks; with a token by which she (or her robot) acts for Bob, nobody agrees: Bob must do it in person."""
    inv = await scene.ask()
    acting = scene.person("bob").model_copy(update={"actors": ("alice",)})
    answer = await cast(scene, inv, acting, verdict)
    assert (answer.kind, "in person" in answer.card.text) == ("refusal", True)
    assert (await scene.now(inv)).votes == ()


async def test_a_token_takes_no_vote_back(scene: Scene) -> None:
    """An API token, or whoever acts for the voter, touches no vote at all: not even to take it away."""
    inv, _ = await scene.approved()
    for marks in ({"method": "api_token", "scopes": ("read",)}, {"actors": ("alice",)}):
        answer = await cast(scene, inv, scene.person("bob").model_copy(update=marks), "withdraw")
        assert answer.kind == "refusal"
    assert (await scene.now(inv)).state is State.QUEUED


async def test_t09_an_actor_who_signs_in_only_later_is_still_one_with_the_asker(scene: Scene) -> None:
    """The act claim named a subject nobody knew; when that one becomes a person, they have no say in it."""
    actor = scene.person("alice").model_copy(update={"actors": ("00u-mallory",)})
    inv = await submit(scene.gate, Ask(LINE, None, {}, Options(), ChatContext()), actor, no_key)
    now = scene.clock.now
    known = Known("00u-mallory", "u-0123456789", "Mallory", (OWNERS,), now, now + HOUR)
    await scene.store.apply(Change((), people=(known,)))
    await scene.gate.folk.refresh()
    mallory = scene.gate.folk.person("u-0123456789")
    assert mallory is not None
    who = Asker(principal=mallory, assurance=Assurance.OIDC, method="oidc", platform="web")
    assert (await cast(scene, inv, who)).kind == "refusal"
    assert (await scene.now(inv)).state is State.PENDING


async def test_t54_who_is_one_with_the_glass_breaker_closes_no_review(scene: Scene) -> None:
    """Whoever acted for them, and whoever acts for the one who closes."""
    actor = scene.person("alice").model_copy(update={"actors": ("carol",)})
    inv = await submit(scene.gate, Ask(LINE, None, {}, Options(), ChatContext()), actor, no_key)
    now = scene.clock.now
    row = Review("rev_0123456789", inv.id, "alice", (SECURITY, OWNERS), now, now + HOUR)
    await scene.store.apply(Change((), people=(row,)))
    acting = scene.person("bob").model_copy(update={"actors": ("alice",)})
    for who in (scene.person("carol"), acting):
        with pytest.raises(Refused) as refused:
            await reviews.close(scene.gate, row.id, NOTE, who, no_key)
        assert refused.value.status == 403
    assert (await reviews.close(scene.gate, row.id, NOTE, scene.person("bob"), no_key)).closed_by == "bob"


async def test_an_open_review_can_be_closed_however_many_came_after_it(scene: Scene) -> None:
    """Else its person could never break the glass again."""
    now = scene.clock.now
    old = Review("rev_0000000000", "inv_0000000000", "alice", (SECURITY,), now - HOUR, now)
    more = tuple(
        Review(f"rev_1{n:09}", f"inv_1{n:09}", f"p{n}", (SECURITY,), now + n, now, now, "carol", NOTE)
        for n in range(201)
    )
    await scene.store.apply(Change((), people=(old, *more)))
    assert (await reviews.close(scene.gate, old.id, NOTE, scene.person("carol"), no_key)).id == old.id


# ---- names that come again -------------------------------------------------------------------------------------------


def test_a_subject_and_an_id_that_mean_two_people_are_refused() -> None:
    """A token that says `bob` would be whoever stands later in the file."""
    bob, eve = Principal(id="bob", name="Bob"), Principal(id="eve", name="Eve", subject="bob")
    with pytest.raises(ValidationError, match="subject `bob` stands twice"):
        listed(bob, eve)
    listed(bob.model_copy(update={"subject": "00u-bob"}), eve)


def test_who_came_by_sign_in_and_is_listed_since_is_one_person() -> None:
    """Their old session is nobody's: they could approve with it what they ask under the name in the file."""
    known = Known("00u1", "u-0123456789", "Alice", (OWNERS,), 1, 10 * HOUR)
    more = People(1, {"slack:T0ACME/U0ALICE": "u-0123456789"}, {"00u1": known})
    before = listed().with_people(more)
    assert before.person("u-0123456789", HOUR)
    after = listed(Principal(id="alice", name="Alice", subject="00u1")).with_people(more)
    found = after.by_subject("00u1", HOUR)
    assert found is not None
    assert found.id == "alice"
    assert after.person("u-0123456789", HOUR) is None
    assert after.by_identity("slack:T0ACME/U0ALICE", HOUR) is None


def test_a_name_given_to_another_subject_leaves_nothing_to_the_old_one() -> None:
    """The file gave `alice` to somebody else: the first has neither her name, nor she the groups of the first."""
    known = Known("00u-old", "alice", "Alice", (SECURITY,), 1, 10 * HOUR)
    after = listed(Principal(id="alice", name="Alice", subject="00u-new")).with_people(
        People(1, {}, {"00u-old": known})
    )
    assert after.by_subject("00u-old", HOUR) is None
    found = after.person("alice", HOUR)
    assert found is not None
    assert found.groups == ()


class Provider:
    """Sends everybody straight back as Alice's new subject; its address is the state alone."""

    name = "idp"

    async def url(self, asking: Asking) -> str:
        return asking.state

    async def identify(self, asking: Asking, returned: Returned) -> Identified:
        return Identified("https://idp", "00u-new", "Alice", (), False)

    async def close(self) -> None: ...


async def test_a_person_whose_subject_changed_can_sign_in(scene: Scene) -> None:
    """The provider was replaced: the file names the new subject, and the row of the old one gives way."""
    await scene.store.apply(Change((), people=(Known("00u-old", "alice", "Alice", (), 1, 2),)))
    people = [p.model_copy(update={"subject": "00u-new"}) if p.id == "alice" else p for p in DIRECTORY.people]
    scene.directory = Directory.model_validate({**DIRECTORY.model_dump(by_alias=True), "people": people})
    began = await begin(scene.gate, Provider(), "", "/")
    proof = await prove(scene.gate, Provider(), began.url, began.browser, Returned("code", "", ""))
    made = await open_session(scene.gate, proof, "browser", "-", "")
    assert made.credential.account == "alice"
    assert set((await scene.store.people()).known) == {"00u-new"}


# ---- what was agreed to ----------------------------------------------------------------------------------------------


def two_of_them(asked: PolicyInput) -> dict[str, Any]:
    """Another requirement than `needs(OWNERS, SECURITY)`, which the same people could meet."""
    wanted = [Requirement(id="two", groups=(OWNERS, SECURITY), quorum=2, ttl_s=3600)]
    have = count_met(wanted, asked.approvals, askers(asked.subject), asked.now.unix_ns, asked.request.hash)
    unmet = [r.id for r in wanted if have[r.id] < 2]
    return {"effect": "pending" if unmet else "allow", "require": wanted, "unmet": unmet}


async def test_a10_votes_that_would_meet_another_requirement_do_not_at_the_claim(scene: Scene) -> None:
    """Bob and Carol agreed to one thing; under another set of requirements they are asked anew."""
    scene.policy.rule = needs(OWNERS, SECURITY)
    inv = await scene.ask()
    for name in ("bob", "carol"):
        await scene.vote(inv, name)
    message = await scene.message()
    scene.policy.rule = two_of_them
    assert (await scene.claim(message)).verdict == "skip"
    after = await scene.now(inv)
    assert (after.state, after.votes) == (State.PENDING, ())


async def test_a10_the_last_vote_does_not_carry_the_ones_before_over_to_another_requirement(scene: Scene) -> None:
    """Neither does it count itself: its voter saw what is not asked any more."""
    scene.policy.rule = needs(OWNERS, SECURITY)
    inv = await scene.ask()
    await scene.vote(inv, "bob")
    scene.policy.rule = two_of_them
    await scene.vote(inv, "carol")
    after = await scene.now(inv)
    assert (after.state, after.votes) == (State.PENDING, ())
    for name in ("bob", "carol"):
        await scene.vote(inv, name)
    assert (await scene.now(inv)).state is State.QUEUED


async def test_an_allow_that_still_misses_somebody_is_no_answer(scene: Scene) -> None:
    """A policy that contradicts itself decides nothing."""
    wanted = Requirement(id="owner", groups=(OWNERS,), quorum=1, ttl_s=60)
    scene.policy.rule = lambda asked: {"effect": "allow", "require": [wanted], "unmet": ["owner"]}
    inv = await scene.ask()
    assert (inv.state, inv.decision.reasons[0].code) == (State.DENIED, "policy_bad_answer")


async def test_of_two_looks_at_the_people_the_older_never_comes_last(scene: Scene) -> None:
    """A slow look that began before a change must not undo what a decision read meanwhile."""
    slow, go = asyncio.Event(), asyncio.Event()

    class Slow:
        """The store, whose first look takes its time."""

        async def people(self) -> People:
            found = await scene.store.people()
            if not slow.is_set():
                slow.set()
                await go.wait()
            return found

    folk = Folk(Slow(), lambda: DIRECTORY, scene.clock)  # type: ignore[arg-type]
    first = asyncio.create_task(folk.refresh())
    await slow.wait()
    now = scene.clock.now
    handed = Delegation("dlg_0123456789", "bob", "dave", "away", now, now + HOUR)
    await scene.store.apply(Change((), people=(handed,)))
    second = asyncio.create_task(folk.catch_up(await scene.store.people_version()))
    await asyncio.sleep(0.05)
    go.set()
    await asyncio.gather(first, second)
    assert folk.directory.may_vote_for("dave", "bob", now)


# ---- codes -----------------------------------------------------------------------------------------------------------


async def test_what_a_device_waits_for_is_no_code_to_redeem(scene: Scene) -> None:
    """Its kind of code is made without a verifier; offered at the other door it is refused, and breaks nothing."""
    device = await terminals.begin_device(scene.gate, "box", "-")
    who = scene.person("alice").model_copy(update={"method": "oidc"})
    await terminals.answer(scene.gate, who, device.user_code, True)
    forged = f"answer {terminals._device_digest(device.device_code)}"
    with pytest.raises(terminals.TerminalError) as refused:
        await terminals.redeem(scene.gate, forged, "v" * 50, "http://127.0.0.1:7/callback")
    assert refused.value.error == "invalid_grant"


async def test_what_is_long_over_is_not_kept(scene: Scene) -> None:
    """Codes an hour after their end, sign-ins after a month: API tokens stay in their owner's list."""
    now = scene.clock.now
    codes = tuple(Code(f"{n:064x}", "sign_in", "", "{}", now - 2 * HOUR, used) for n, used in ((1, 0), (2, now)))
    fresh = Code(f"{3:064x}", "sign_in", "", "{}", now + HOUR)
    just_over = Code(f"{4:064x}", "grant", "", "{}", now - NS, now - 2 * NS)
    ago = now - SESSIONS_KEPT_NS - 25 * HOUR
    signed = Signed("alice", Assurance.OIDC, 0)
    old, new = (new_credential(signed, "console", "b", at).credential for at in (ago, now))
    api: Credential = replace(old, id="tok_0123456789", kind="api", digest="f" * 64)
    await scene.store.apply(Change((), people=(*codes, fresh, just_over, old, new, api)))
    await reconcile(scene.gate)
    assert [await scene.store.code(c.digest) for c in (*codes, fresh, just_over)] == [None, None, fresh, just_over]
    assert {c.id for c in await scene.store.credentials(("alice",))} == {new.id, api.id}


async def test_a_pass_takes_away_only_so_much(scene: Scene) -> None:
    """A flood of begun sign-ins makes no pass of the reconciler long."""
    old = scene.clock.now - 2 * HOUR
    flood = tuple(Code(f"{n:064x}", "sign_in", "", "{}", old + n) for n in range(1001))
    await scene.store.apply(Change((), people=flood))
    await reconcile(scene.gate)
    assert [(await scene.store.code(flood[n].digest)) is None for n in (0, 999, 1000)] == [True, True, False]
    await reconcile(scene.gate)
    assert await scene.store.code(flood[1000].digest) is None
