"""The `opsgate` command line about approvals, accounts, tokens and delegations."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from opsgate import client as client_module
from opsgate.contracts.invocations import State
from tests.unit.cli_line import Type, keyboard
from tests.unit.stub_gateway import Reply, StubGateway, golden, serve, view


@pytest.fixture(scope="module")
def stub() -> Iterator[StubGateway]:
    with serve() as running:
        yield running


@pytest.fixture
def gateway(stub: StubGateway, monkeypatch: pytest.MonkeyPatch) -> StubGateway:
    monkeypatch.setattr(client_module, "RETRY_WAIT_S", 0.01)
    stub.forget()
    return stub


@pytest.fixture
def enter(gateway: StubGateway, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Type:
    return keyboard(gateway, capsys, monkeypatch)


# ---- what waits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["waiting", "asked", "decided"])
def test_approvals_lists_what_waits_for_me_or_what_i_did(gateway: StubGateway, enter: Type, which: str) -> None:
    """One line each, with the id to decide by."""
    page = {"items": [view(State.PENDING).model_dump(mode="json")], "next": None}
    gateway.when("GET", "/v1/approvals", Reply(page))
    typed = enter(f"approvals --view {which} --as alice")
    assert (typed.code, view().id in typed.out) == (0, True)
    assert gateway.calls("/v1/approvals")[0].query["view"] == which
    gateway.when("GET", "/v1/approvals", Reply({"items": [], "next": None}))
    assert enter(f"approvals --view {which} --as alice").out.endswith((".\n", "yet.\n"))


def test_reviews_lists_the_open_ones_and_closes_one(gateway: StubGateway, enter: Type) -> None:
    """With what was found, as words or as one."""
    reviews = golden("page_of_reviews")
    gateway.when("GET", "/v1/reviews", Reply(reviews))
    assert reviews.items[0].id in enter("reviews --as alice").out
    assert gateway.calls("/v1/reviews")[0].query == {"open": "true"}
    assert enter("reviews --all --as alice").code == 0
    assert gateway.calls("/v1/reviews")[1].query == {}

    gateway.when("POST", "/v1/reviews/rev_0123456789/close", Reply(reviews.items[0]))
    assert enter("reviews close rev_0123456789 the disk was full indeed --as alice").code == 0
    (closed,) = gateway.calls("/v1/reviews/rev_0123456789/close")
    assert closed.body == {"note": "the disk was full indeed"}
    for wrong in ("reviews close --as alice", "reviews close rev_0123456789 --as alice"):
        assert (enter(wrong).code, len(gateway.calls("/v1/reviews/rev_0123456789/close"))) == (2, 1)


# ---- accounts --------------------------------------------------------------------------------------------------------


def test_links_lists_my_accounts_and_unlink_gives_one_up(gateway: StubGateway, enter: Type) -> None:
    """An account is named as it is listed."""
    gateway.when("GET", "/v1/links", Reply(golden("page_of_linked_accounts")))
    assert golden("page_of_linked_accounts").items[0].identity in enter("links --as alice").out
    gateway.when("DELETE", "/v1/links/slack:T0ACME/U0ALICE", Reply(status=204))
    assert enter("unlink slack:T0ACME/U0ALICE --as alice").code == 0


@pytest.mark.parametrize(
    "account", ["U0ALICE", "slack:../../tokens/x", "slack:T/../x", "slack:T0/U0?x=1", "slack:T0/U0/x"]
)
def test_what_is_no_account_is_not_sent(gateway: StubGateway, enter: Type, account: str) -> None:
    """Nothing in it can lead to another address."""
    typed = enter(f"unlink {account} --as alice")
    assert (typed.code, "no chat account" in typed.err) == (2, True)
    assert [call.method for call in gateway.seen if call.method == "DELETE"] == []


# ---- tokens ----------------------------------------------------------------------------------------------------------


def test_a_token_is_all_that_stdout_gets(gateway: StubGateway, enter: Type) -> None:
    """So that `TOKEN=$(opsgate tokens make ci)` works; what it is for is told beside it."""
    made = golden("made_token")
    gateway.when("POST", "/v1/tokens", Reply(made, 201))
    typed = enter("tokens make nightly --account ci-bot --scope read --scope write --days 7 --as alice")
    assert (typed.code, typed.out) == (0, made.token + "\n")
    assert made.credential.id in typed.err
    assert made.token not in typed.err
    (wish,) = gateway.calls("/v1/tokens")
    expected = {"name": "nightly", "account": "ci-bot", "scopes": ["read", "write"], "expires_in_days": 7}
    assert wish.body == expected
    assert enter("tokens make nightly --json --as alice").json["token"] == made.token


def test_tokens_are_listed_without_themselves_and_revoked(gateway: StubGateway, enter: Type) -> None:
    """With when they were last used."""
    held = golden("made_token").credential
    gateway.when("GET", "/v1/tokens", Reply({"items": [held.model_dump(mode="json")], "next": None}))
    typed = enter("tokens list --as alice")
    assert all(part in typed.out for part in (held.id, held.name, held.account))
    gateway.when("DELETE", f"/v1/tokens/{held.id}", Reply(status=204))
    assert enter(f"tokens revoke {held.id} --as alice").code == 0
    assert enter("tokens --as alice").code == 2
    assert enter("tokens make x --days 999 --as alice").code == 2


# ---- delegations -----------------------------------------------------------------------------------------------------


def test_approvals_are_handed_on_for_a_while(gateway: StubGateway, enter: Type) -> None:
    """Until when is counted here and sent as a time."""
    page = golden("page_of_delegations")
    gateway.when("POST", "/v1/delegations", Reply(page.items[0], 201))
    typed = enter("delegate carol 8h on a plane --as alice")
    assert (typed.code, page.items[0].id in typed.out) == (0, True)
    (sent,) = gateway.calls("/v1/delegations")
    assert (sent.body["to"], sent.body["reason"]) == ("carol", "on a plane")
    left = datetime.fromisoformat(sent.body["until"]) - datetime.now(UTC)
    assert timedelta(hours=7.9) < left <= timedelta(hours=8)
    assert enter("delegate carol soon plane --as alice").code == 2

    gateway.when("GET", "/v1/delegations", Reply(page))
    assert page.items[0].reason in enter("delegations --as alice").out
    gateway.when("DELETE", "/v1/delegations/dlg_0123456789", Reply(status=204))
    assert enter("undelegate dlg_0123456789 --as alice").code == 0
