"""Hints and help on a gate to play on: what the policy is asked, how often, and what happens when it is silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.domain.catalog import Catalog
from gateway.domain.deciding import PolicyResult
from gateway.domain.directory import Asker, Directory
from gateway.domain.errors import Refused, Unavailable
from gateway.domain.invocation import NS
from gateway.domain.variants import MOST
from gateway.flows import explain, teach
from opsgate.contracts.decisions import Reason, Verdict
from opsgate.contracts.invocations import State
from opsgate.contracts.policy import PolicyInput
from opsgate.contracts.problems import Code
from tests.unit.gateway.scene import CATALOG, DIRECTORY, Rules, Scene, empty_store, scene_in


class Counted(Rules):
    """The policy port, with every batch it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[Sequence[PolicyInput]] = []
        self.hangs = False

    async def decide_all(self, documents: Sequence[PolicyInput]) -> list[PolicyResult]:
        self.batches.append(documents)
        if self.hangs:
            await asyncio.sleep(3600)
        return await super().decide_all(documents)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return empty_store(tmp_path_factory.mktemp("empty"))


@pytest.fixture
async def scene(tmp_path: Path, empty: Path) -> AsyncIterator[Scene]:
    async with scene_in(tmp_path, empty) as found:
        found.policy = found.gate.policy = Counted()
        yield found


def batches(scene: Scene) -> list[Sequence[PolicyInput]]:
    assert isinstance(scene.policy, Counted)
    return scene.policy.batches


def only_staging(asked: PolicyInput) -> dict[str, Any]:
    why = Reason(code="not_here", argument="environment", msg="Only staging.")
    return {"effect": "allow"} if asked.resource.env == "staging" else {"effect": "deny", "reasons": [why]}


def nothing(asked: PolicyInput) -> dict[str, Any]:
    return {"effect": "deny", "reasons": [Reason(code="no_rule", msg="Nothing at all.")]}


def freezing_only(asked: PolicyInput) -> dict[str, Any]:
    return {"effect": "allow"} if asked.action.name == "freeze" else nothing(asked)


async def test_a_denial_is_one_batch_of_at_most_twelve_and_an_allowed_one_is_none(scene: Scene) -> None:
    """Nothing is spent on what passes; a denial asks once, bounded, about the same service only."""
    scene.policy.rule = only_staging
    assert (await scene.ask("deploy staging api-service")).state is State.QUEUED
    assert batches(scene) == []
    denied = await scene.ask("scale production api-service 40 --ticket OPS-1")
    assert (denied.state, denied.would_pass[0]) == (State.DENIED, "scale staging api-service 40 --ticket OPS-1")
    (batch,) = batches(scene)
    assert 0 < len(batch) <= MOST
    assert {d.resource.service for d in batch} == {"api-service"}
    assert {d.request.break_glass.requested for d in batch} == {False}


async def test_a_policy_that_hangs_or_fails_leaves_the_denial_without_a_hint(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hint is waited for a moment only, and asking for it never changes the answer."""
    monkeypatch.setattr(teach, "LIMIT_S", 0.05)
    scene.policy.rule = only_staging
    assert isinstance(scene.policy, Counted)
    scene.policy.hangs = True
    denied = await scene.ask("deploy production api-service")
    assert (denied.state, denied.hint, denied.would_pass) == (State.DENIED, "", ())
    scene.policy.hangs, scene.policy.rule = False, None
    silent = await scene.ask("deploy production api-service")
    assert (silent.state, silent.hint) == (State.DENIED, "")
    assert len(batches(scene)) == 1, "without a policy nobody is asked what would pass"


async def test_a_batch_that_gives_no_answers_suggests_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """No decision is a no here too."""
    none = PolicyResult(None, "r1", Reason(code="policy_error", msg="It failed."))

    async def fails(documents: Sequence[PolicyInput]) -> list[PolicyResult]:
        return [none] * len(documents)

    monkeypatch.setattr(scene.policy, "decide_all", fails)
    scene.policy.rule = only_staging
    denied = await scene.ask("deploy production api-service")
    assert (denied.state, denied.hint) == (State.DENIED, "")


async def test_two_hundred_commands_in_all_environments_are_one_batch(scene: Scene) -> None:
    """Each command once in each environment; only what that does not allow is tried on other kinds of services."""
    deploy = CATALOG.commands[0]
    scene.gate.catalog = lambda: Catalog(
        commands=tuple(deploy.model_copy(update={"name": f"c{n}", "aliases": ()}) for n in range(200))
    )
    scene.policy.rule = only_staging
    assert len(await explain.commands(scene.gate, scene.person("alice"))) == 200
    first, *more = batches(scene)
    assert len({(d.action.name, d.resource.env) for d in first}) == len(first) == 400
    assert {d.resource.env for batch in more for d in batch} == {"production"}
    assert {d.resource.service for d in first}.isdisjoint(d.resource.service for batch in more for d in batch)


async def test_help_is_kept_for_five_seconds_and_for_this_asker_alone(scene: Scene) -> None:
    """The second time nothing is asked; another person, other groups, another directory or later: asked again."""

    async def asks(who: Asker) -> bool:
        before = len(batches(scene))
        found = {v.name: v.targets for v in await explain.commands(scene.gate, who)}
        assert found["deploy"] == {"staging": Verdict.ALLOW, "production": Verdict.DENY}
        return len(batches(scene)) > before

    scene.policy.rule = only_staging
    alice, bob = scene.person("alice"), scene.person("bob")
    assert await asks(alice)
    assert not await asks(alice)
    assert await asks(bob)
    regrouped = alice.principal.model_copy(update={"groups": ("members",)})
    assert await asks(alice.model_copy(update={"principal": regrouped}))
    assert await asks(alice.model_copy(update={"scopes": ("read",)}))
    assert not await asks(alice)
    scene.directory = Directory.model_validate(DIRECTORY.model_dump(by_alias=True))
    assert await asks(alice)
    scene.clock.now += 5 * NS
    assert await asks(alice)
    scene.policy.revision = "r2"
    assert await asks(alice)


async def test_many_who_open_help_at_once_leave_the_policy_room(scene: Scene) -> None:
    """The same person in many windows is asked about once, or twice when two began together."""
    scene.policy.rule = only_staging
    await explain.commands(scene.gate, scene.person("bob"))
    once = len(batches(scene))
    alice = scene.person("alice")
    await asyncio.gather(*(explain.commands(scene.gate, alice) for _ in range(20)))
    assert len(batches(scene)) - once <= 2 * once


async def test_t48_who_may_do_nothing_sees_nothing_and_who_may_do_anything_sees_all(scene: Scene) -> None:
    """One allowed command makes a member; the others are then shown as what they are, not theirs."""
    scene.policy.rule = nothing
    assert await explain.commands(scene.gate, scene.person("dave")) == ()
    scene.policy.rule = freezing_only
    found = {v.name: v.may for v in await explain.commands(scene.gate, scene.person("carol"))}
    assert (found["freeze"], found["deploy"]) == (Verdict.ALLOW, Verdict.DENY)


async def test_help_without_a_policy_says_so_and_is_not_kept(scene: Scene) -> None:
    """To say that somebody has no role would be a lie; the next time is asked anew."""
    scene.policy.rule = None
    with pytest.raises(Unavailable) as trouble:
        await explain.commands(scene.gate, scene.person("alice"))
    assert trouble.value.code is Code.POLICY_UNAVAILABLE
    scene.policy.rule = only_staging
    assert await explain.commands(scene.gate, scene.person("alice"))


async def test_what_a_token_says_of_its_carrier_is_not_said_of_another(scene: Scene) -> None:
    """Carol's scopes and her second factor are not Dave's; who is not known or not hers to ask is one answer."""
    seen: list[PolicyInput] = []

    def watched(asked: PolicyInput) -> dict[str, Any]:
        seen.append(asked)
        return nothing(asked)

    scene.policy.rule = watched
    carol = scene.person("carol").model_copy(update={"scopes": ("read",), "mfa_at_ns": 5, "actors": ("robot",)})
    found = await explain.what_if(scene.gate, "deploy staging api-service", carol, "dave")
    assert found.person == "dave"
    assert (seen[0].subject.id, seen[0].subject.auth.scopes, seen[0].subject.auth.mfa_at_ns) == ("dave", (), 0)
    assert seen[0].subject.via.actor_chain == ()
    answers = []
    for who, other in (("carol", "nobody"), ("carol", "opsgate"), ("alice", "bob"), ("alice", "nobody")):
        with pytest.raises(Refused) as refusal:
            await explain.what_if(scene.gate, "deploy staging api-service", scene.person(who), other)
        answers.append((refusal.value.code, refusal.value.detail))
    assert len(set(answers)) == 1
