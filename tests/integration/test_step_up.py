"""An approval that the policy wants a fresh sign-in for: a link, the real provider, and exactly one vote."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from dev.embedded import ROOT
from dev.policies import OpaServer
from tests.rig.gateways import Desk, desk
from tests.rig.oidc import Browser, link, told

pytestmark = pytest.mark.slow

_numbers = itertools.count()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A house whose policy takes a destroy only from who just used a second factor."""
    folder = tmp_path_factory.mktemp("step-up")
    policies = folder / "policies"
    shutil.copytree(ROOT / "policies", policies)
    data = json.loads((policies / "data.json").read_text())
    data["assurance"]["destroy"] = "oidc_mfa"
    data["limits"] |= {"pending_per_person": 1000, "cool_down_s": 0}
    (policies / "data.json").write_text(json.dumps(data))
    opa = OpaServer(policies, folder / "opa").start()
    try:
        with desk(folder / "house", opa.url) as found:
            yield found
    finally:
        opa.stop()


@pytest.fixture
def at(shared: Desk) -> Iterator[Desk]:
    yield shared
    shared.rest()


def asked(at: Desk) -> tuple[str, str]:
    """Alice asks for a migration. Its id, and what Bob types to approve it."""
    invocation = at.say("alice", f"migrate production api-service --version 1.4.{next(_numbers)}")["invocation"]
    assert invocation["state"] == "pending", invocation["card"]
    return invocation["id"], f"approve {invocation['id']} {short(invocation)}"


def short(invocation: dict[str, Any]) -> str:
    return str(invocation["binding_hash"]).removeprefix("sha256:")[:8]


def step_up_link(at: Desk, line: str, who: str = "bob") -> str:
    """The link that `who` gets for typing this."""
    card = at.say(who, line)["card"]
    assert len(card["links"]) == 1, card
    return str(card["links"][0]["url"])


def state(at: Desk, invocation: str) -> dict[str, Any]:
    with at.persona("alice") as http:
        found: dict[str, Any] = http.get(f"/v1/invocations/{invocation}").raise_for_status().json()
    return found


def voters(at: Desk, invocation: str) -> list[str]:
    return [vote["by"]["id"] for vote in state(at, invocation)["votes"]]


def sign(browser: Browser, page: str, who: str, *, mfa: bool = True) -> httpx2.Response:
    """From the link's page through the provider and back."""
    return browser.choose(browser.get(link(browser.get(page))), who, mfa=mfa)


def test_bob_signs_in_again_and_his_approval_counts(at: Desk) -> None:
    """The page shows what it is about; the vote is cast with what the sign-in proved."""
    invocation, line = asked(at)
    page = step_up_link(at, line)
    browser = at.browser()
    shown = browser.get(page).text
    assert "Alice asked for this" in shown
    assert "migrate" in shown
    assert voters(at, invocation) == []
    answer = sign(browser, page, "bob")
    assert "Your approval was counted" in answer.text
    vote = state(at, invocation)["votes"][0]
    assert (vote["by"]["id"], vote["assurance"], vote["platform"]) == ("bob", "oidc_mfa", "web")
    kinds = [(r.kind, r.actor) for kind in ("step_up.offered", "step_up.done") for r in at.audit(kind)[-1:]]
    assert kinds == [("step_up.offered", "bob"), ("step_up.done", "bob")]
    assert "opsgate" not in [c.name for c in browser.http.cookies.jar]  # a step-up is no session


def test_the_provider_is_told_to_ask_again_even_whom_it_knows(at: Desk) -> None:
    """`prompt=login`, `max_age=0`, and the way the company wants it (`acr_values`)."""
    _, line = asked(at)
    page = step_up_link(at, line)
    browser = at.signed_in("bob")  # the provider has a session of Bob now
    answer = browser.get(f"{page}/begin", follow=False)
    query = {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}
    assert (query["prompt"], query["max_age"], query["acr_values"]) == ("login", "0", "mfa")
    assert query["code_challenge_method"] == "S256"
    assert "Who are you?" in browser.get(f"{page}/begin").text


def test_a_sign_in_without_a_second_factor_is_not_enough(at: Desk) -> None:
    """And the link is still good for the one who then uses one."""
    invocation, line = asked(at)
    page = step_up_link(at, line)
    assert "second factor" in told(sign(at.browser(), page, "bob", mfa=False))
    assert voters(at, invocation) == []
    sign(at.browser(), page, "bob")
    assert voters(at, invocation) == ["bob"]


def test_another_person_cannot_follow_the_link(at: Desk) -> None:
    """Carol may approve this too, but not by Bob's link; it is audited, and Bob still can."""
    invocation, line = asked(at)
    page = step_up_link(at, line)
    answer = sign(at.browser(), page, "carol")
    assert answer.status_code == 403
    assert "somebody else" in told(answer)
    refused = at.audit("step_up.refused")[-1]
    assert (refused.actor, refused.body["link_of"], refused.invocation_id) == ("carol", "bob", invocation)
    assert voters(at, invocation) == []
    sign(at.browser(), page, "bob")
    assert voters(at, invocation) == ["bob"]


def test_the_asker_cannot_approve_by_a_link_either(at: Desk) -> None:
    """No link is made for her."""
    _, line = asked(at)
    assert at.say("alice", line)["card"]["links"] == []


def test_a_link_is_used_once(at: Desk) -> None:
    """Neither its page nor a sign-in begun before works again."""
    invocation, line = asked(at)
    page = step_up_link(at, line)
    late = at.browser()
    waiting = late.get(link(late.get(page)))
    sign(at.browser(), page, "bob")
    assert at.browser().get(page).status_code == 404
    assert late.choose(waiting, "bob", mfa=True).status_code == 404
    assert voters(at, invocation) == ["bob"]


def test_two_sign_ins_at_once_by_one_link_are_one_vote(at: Desk) -> None:
    """Both come back at the same moment."""
    invocation, line = asked(at)
    page = step_up_link(at, line)
    browsers = [at.browser() for _ in range(4)]
    callbacks = [b.to_callback(b.get(link(b.get(page))), "bob", mfa=True) for b in browsers]
    with ThreadPoolExecutor(4) as crowd:
        answers = list(crowd.map(lambda b, address: b.get(address).status_code, browsers, callbacks))
    assert answers.count(200) == 1
    assert set(answers) <= {200, 401, 404}
    assert len([r for r in at.audit("step_up.done") if r.invocation_id == invocation]) == 1
    assert voters(at, invocation) == ["bob"]


def test_a_link_is_good_for_five_minutes(at: Desk) -> None:
    """Also for who began in time and comes back too late."""
    invocation, line = asked(at)
    page = step_up_link(at, line)
    browser = at.browser()
    waiting = browser.get(link(browser.get(page)))
    with at.clock.later(301):
        answer = at.browser().get(page)
        assert answer.status_code == 404
        assert "five minutes" in told(answer)
        assert browser.choose(waiting, "bob", mfa=True).status_code == 404
    assert voters(at, invocation) == []


def test_a_link_for_something_decided_meanwhile_decides_nothing(at: Desk) -> None:
    """Alice took it back while Bob was signing in."""
    invocation, line = asked(at)
    page = step_up_link(at, line)
    browser = at.browser()
    waiting = browser.get(link(browser.get(page)))
    at.say("alice", f"cancel {invocation}")
    answer = browser.choose(waiting, "bob", mfa=True)
    assert "not counted" in answer.text
    assert state(at, invocation)["state"] == "cancelled"


def test_a_link_for_a_changed_invocation_is_refused(at: Desk) -> None:
    """What waits has another hash than what the link was made for: the page says so and leads nowhere."""
    _, line = asked(at)
    page = step_up_link(at, line)
    secret = page.rsplit("/", 1)[1]
    begun = at.browser()
    waiting = begun.get(link(begun.get(page)))
    tamper(at, secret)
    shown = at.browser().get(page)
    assert "is not what this link was made for" in told(shown)
    assert not re.search(r'href="/step-up/', shown.text)
    answer = begun.choose(waiting, "bob", mfa=True)
    assert answer.status_code == 403
    assert at.audit("step_up.refused")[-1].actor == "bob"


def tamper(at: Desk, secret: str) -> None:
    """As if the Invocation had changed: the link's row names another hash."""
    from sqlalchemy import text

    from gateway.flows.step_up import secret_digest

    with at.house.store._engine.begin() as connection:
        change = "UPDATE codes SET data = replace(data, 'sha256:', 'sha256:f') WHERE digest = :digest"
        connection.execute(text(change), {"digest": secret_digest(secret)})


def test_t55_a_forged_link_is_nothing(at: Desk) -> None:
    """A guess, and a sign-in's state in the place of a link's secret."""
    assert at.browser().get("/step-up/" + "A" * 43).status_code == 404
    browser = at.browser()
    begun = browser.get(link(browser.get("/login")), follow=False)
    state = parse_qs(urlsplit(begun.headers["location"]).query)["state"][0]
    assert browser.get(f"/step-up/{state}").status_code == 404
