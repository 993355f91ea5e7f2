"""A chat account becomes one with a person: a link from the chat, the real provider, a page, and one click."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from dev.embedded import ROOT
from dev.policies import OpaServer
from gateway.infra.slack_evidence import SlackEvidence
from tests.rig.gateways import Desk, desk
from tests.rig.oidc import Browser, form, told
from tests.rig.slack import ADAPTER_TOKEN, BOB, Delivery, Sender
from tests.rig.stages import SLACK_SIGNING_SECRET

pytestmark = pytest.mark.slow

_numbers = itertools.count()
SLACK = Sender(SLACK_SIGNING_SECRET)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A house with a Slack adapter, an identity provider and the practice company's policy."""
    folder = tmp_path_factory.mktemp("linking")
    shutil.copytree(ROOT / "policies", folder / "policies")
    opa = OpaServer(folder / "policies", folder / "opa").start()
    try:
        with desk(folder / "house", opa.url) as found:
            found.house.evidence = SlackEvidence(SLACK_SIGNING_SECRET)
            yield found
    finally:
        opa.stop()


@pytest.fixture
def at(shared: Desk) -> Iterator[Desk]:
    yield shared
    shared.rest()


def carry(at: Desk, path: str, delivery: Delivery, **body: Any) -> dict[str, Any]:
    """What the adapter is answered for a delivery of Slack."""
    headers = {name: value for name, value in delivery.headers.items() if name.startswith("x-slack-")}
    evidence = {"platform": "slack", "body": delivery.body, "headers": headers}
    signed = {"Authorization": f"Bearer {ADAPTER_TOKEN}", "Idempotency-Key": f"k{next(_numbers)}"}
    answer = httpx2.post(at.url + path, json={**body, "evidence": evidence}, headers=signed, trust_env=False)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def type_(at: Desk, line: str, account: str) -> dict[str, Any]:
    return carry(at, "/v1/messages", SLACK.command(line, account, at=at.clock.now_ns() / 1e9), text=line)


def press(at: Desk, invocation: dict[str, Any], account: str, verdict: str = "approve") -> dict[str, Any]:
    seen = {"id": invocation["id"], "binding_hash": invocation["binding_hash"]}
    button = {"action_id": f"opsgate_{verdict}", "text": {}, "type": "button", "value": json.dumps(seen)}
    path = f"/v1/invocations/{invocation['id']}/votes"
    return carry(at, path, SLACK.press(button, account), verdict=verdict, binding_hash=invocation["binding_hash"])


def somebody() -> str:
    """A Slack account that nobody knows."""
    return f"U0NEW{next(_numbers)}"


def offered(at: Desk, account: str, line: str = "help") -> str:
    """The link this account gets."""
    (link,) = type_(at, line, account)["card"]["links"]
    return str(link["url"])


def confirm(browser: Browser, url: str) -> httpx2.Response:
    """Opens the link and presses its button."""
    page = browser.get(url)
    assert page.status_code == 200, page.text
    action, fields = form(page)
    answer: httpx2.Response = browser.post(action, fields)
    return answer


def is_linked(at: Desk, account: str) -> bool:
    return bool(type_(at, "whoami", account)["kind"] == "identity")


# ---- before ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["help", "", "/ops help deploy", "ops"])
def test_who_is_not_linked_gets_help_and_the_way_to_link(at: Desk, line: str) -> None:
    """What this is and what linking means: nothing of what can be done here, and nobody's name."""
    answer = type_(at, line, somebody())
    assert (answer["kind"], answer["private"], answer["invocation"]) == ("help", True, None)
    card = answer["card"]
    assert "runs commands from chat" in card["text"]
    assert "not linked to a person yet" in card["text"]
    assert (card["bullets"], card["facts"], card["buttons"]) == ([], [], [])
    assert card["links"][0]["url"].startswith(f"{at.url}/link/")


@pytest.mark.parametrize(
    "line", ["deploy staging api-service", "whoami", "history", "links", "approve inv_0000000000", '"']
)
def test_t08_whatever_an_unlinked_account_types_is_refused_with_the_link(at: Desk, line: str) -> None:
    """Even what only reads; and each time it is written down who asked, but not what they typed."""
    account = somebody()
    answer = type_(at, line, account)
    assert (answer["kind"], answer["private"], answer["invocation"]) == ("refusal", True, None)
    assert answer["card"]["title"] == "Not linked yet"
    assert len(answer["card"]["links"]) == 1
    (record,) = [r for r in at.audit("link.offered") if r.actor == f"slack:T0ACME/{account}"]
    assert record.body["asked"] == "a message"
    secret = answer["card"]["links"][0]["url"].rpartition("/")[2]
    assert secret not in record.model_dump_json()


def test_t08_the_press_of_an_unlinked_account_is_no_vote(at: Desk) -> None:
    """It is told to link; what waits goes on waiting, and the audit log has it."""
    waiting = at.say("alice", f"deploy production api-service --reason t08-{next(_numbers)}")["invocation"]
    account = somebody()
    answer = press(at, waiting, account)
    assert (answer["kind"], answer["card"]["title"]) == ("refusal", "Not linked yet")
    with at.persona("alice") as http:
        now = http.get(f"/v1/invocations/{waiting['id']}").json()
    assert (now["state"], now["votes"]) == ("pending", [])
    (record,) = [r for r in at.audit("link.offered") if r.actor.endswith(account)]
    assert record.body["asked"] == f"approve {waiting['id']}"
    at.say("alice", f"cancel {waiting['id']}")


# ---- linking ---------------------------------------------------------------------------------------------------------


def test_a_link_goes_through_sign_in_and_says_what_it_would_do(at: Desk) -> None:
    """Which account, of which workspace, to whom; and that it is to be one's own. Then the account is that person."""
    account, browser = somebody(), at.browser()
    url = offered(at, account)
    page = browser.choose(browser.get(_sign_in_link(browser, url)), "alice")
    assert page.status_code == 200
    for part in ("slack", "T0ACME", account, "Alice (alice)", "only if this is your own account"):
        assert part in page.text, part
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    assert not is_linked(at, account), "looking at the page links nothing"

    action, fields = form(page)
    done = browser.post(action, fields)
    assert f"slack:T0ACME/{account}" in done.text
    assert type_(at, "whoami", account)["card"]["title"] == "Alice"
    (record,) = [r for r in at.audit("account.linked") if r.body["identity"].endswith(account)]
    assert (record.actor, record.body["assurance"]) == ("alice", "oidc")


def _sign_in_link(browser: Browser, url: str) -> str:
    from tests.rig.oidc import link

    page = browser.get(url)
    assert browser.trail[-1].startswith(f"{browser.gateway}/login?then=%2Flink%2F"), browser.trail
    return link(page)


def test_t08_a_link_is_used_once(at: Desk) -> None:
    """Neither its person nor another gets anything from it a second time."""
    account, browser = somebody(), at.signed_in("alice")
    url = offered(at, account)
    page = browser.get(url)
    action, fields = form(page)
    assert "from now on" in browser.post(action, fields).text
    again = browser.post(action, fields)
    assert (again.status_code, "used already" in told(again)) == (404, True)
    other = at.signed_in("bob").get(url)
    assert (other.status_code, "used already" in told(other)) == (404, True)
    assert type_(at, "whoami", account)["card"]["title"] == "Alice"


def test_t08_a_link_is_good_for_ten_minutes(at: Desk) -> None:
    """Opened in time and confirmed too late is too late."""
    account, browser = somebody(), at.signed_in("alice")
    page = browser.get(offered(at, account))
    action, fields = form(page)
    with at.clock.later(601):
        late = browser.post(action, fields)
        assert (late.status_code, "older than ten minutes" in told(late)) == (404, True)
        assert not is_linked(at, account)


def test_t08_a_forged_link_is_none(at: Desk) -> None:
    """What was never made, and a secret made for something else."""
    browser = at.signed_in("alice")
    for secret in ("A" * 43, "short"):
        assert browser.get(f"/link/{secret}").status_code in (404, 422)


def test_t07_an_account_is_one_persons_only(at: Desk) -> None:
    """Two links of one account: the first who confirms has it, the other is told so, on the page and at the click."""
    account = somebody()
    first, second = offered(at, account), offered(at, account)
    alice, bob = at.signed_in("alice"), at.signed_in("bob")
    action, fields = form(bob.get(second))
    assert "from now on" in confirm(alice, first).text
    for answer in (bob.post(action, fields), bob.get(second)):
        assert (answer.status_code, "another person" in told(answer)) == (409, True)
    assert type_(at, "whoami", account)["card"]["title"] == "Alice"


def test_t07_a_persons_second_account_is_still_that_person(at: Desk) -> None:
    """Bob asks from the account the directory knows and approves from one he linked: it is his own asking."""
    second = somebody()
    confirm(at.signed_in("bob"), offered(at, second))
    line = f"deploy production api-service --reason t07-{next(_numbers)}"
    waiting = type_(at, line, BOB)["invocation"]
    answer = press(at, waiting, second)
    assert answer["kind"] == "refusal"
    assert "You asked for this yourself" in answer["card"]["text"]
    others = at.say("alice", f"{line}-2")["invocation"]
    assert press(at, others, second)["kind"] == "invocation", "what others ask is theirs to approve"
    type_(at, f"cancel {waiting['id']}", BOB)


def test_one_person_may_have_several_accounts(at: Desk) -> None:
    """Each listed with how it came to be theirs; one is given up, the others stay."""
    accounts, browser = (somebody(), somebody()), at.signed_in("carol")
    for account in accounts:
        confirm(browser, offered(at, account))
    with at.persona("carol") as http:
        listed = {a["identity"]: a["by"] for a in http.get("/v1/links").json()["items"]}
        assert listed["slack:T0ACME/U0CAROL"] == "directory"
        assert {listed[f"slack:T0ACME/{a}"] for a in accounts} == {"sign-in"}
        assert http.delete(f"/v1/links/slack:T0ACME/{accounts[0]}").status_code == 204
    assert not is_linked(at, accounts[0])
    assert type_(at, f"unlink slack:T0ACME/{accounts[1]}", accounts[1])["card"]["title"] == "Unlinked"
    assert not is_linked(at, accounts[1])
    kinds = [r.body["identity"] for r in at.audit("account.unlinked")]
    assert kinds[-2:] == [f"slack:T0ACME/{a}" for a in accounts]


# ---- who may not -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("site", "lacks"), [("cross-site", ""), ("same-origin", "csrf"), ("none", "")])
def test_another_site_cannot_press_the_button(at: Desk, site: str, lacks: str) -> None:
    """Somebody signed in is lured: without this page's own value and origin nothing is linked."""
    account, browser = somebody(), at.signed_in("alice")
    action, fields = form(browser.get(offered(at, account)))
    answer = browser.post(action, {k: v for k, v in fields.items() if k != lacks}, site=site)
    assert answer.status_code == 403
    assert not is_linked(at, account)


def test_an_api_token_in_the_cookie_links_nothing(at: Desk) -> None:
    """A link is followed by the person themselves."""
    account = somebody()
    url = offered(at, account)
    with at.persona("alice") as http:
        wish = {"name": "lost", "scopes": ["read", "write", "destroy"]}
        token = http.post("/v1/tokens", json=wish, headers={"Idempotency-Key": account}).json()["token"]
    answer = httpx2.get(url, headers={"Cookie": f"opsgate={token}"}, trust_env=False)
    assert (answer.status_code, urlsplit(answer.headers["Location"]).path) == (303, "/login")
    assert not is_linked(at, account)


def test_only_its_person_and_security_see_and_unlink_an_account(at: Desk) -> None:
    """And what the directory file says is not undone here."""
    account = somebody()
    identity = f"slack:T0ACME/{account}"
    confirm(at.signed_in("alice"), offered(at, account))
    with at.persona("bob") as bob, at.persona("carol") as carol, at.persona("alice") as alice:
        assert bob.get("/v1/links", params={"person": "alice"}).status_code == 403
        assert bob.delete(f"/v1/links/{identity}").status_code == 404
        refused = alice.delete("/v1/links/slack:T0ACME/U0ALICE")
        assert (refused.status_code, "directory file" in refused.json()["detail"]) == (409, True)
        seen = [a["identity"] for a in carol.get("/v1/links", params={"person": "alice"}).json()["items"]]
        assert identity in seen
        assert carol.delete(f"/v1/links/{identity}").status_code == 204
        assert carol.delete(f"/v1/links/{identity}").status_code == 404
    (record,) = [r for r in at.audit("account.unlinked") if r.body["identity"] == identity]
    assert (record.actor, record.body["person"]) == ("carol", "alice")
