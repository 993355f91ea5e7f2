"""The client of the gateway's REST API, against a real HTTP server on loopback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest
import pytest_asyncio

from opsgate import client as client_module
from opsgate.client import Client
from opsgate.contracts.commands import AskDecision, CommandView
from opsgate.contracts.invocations import CancelInvocation, CastVote, Page, SendMessage, State, SubmitInvocation
from opsgate.errors import BadAnswer, GatewayRefused, GatewayUnreachable, Mistake
from tests.unit.stub_gateway import Reply, Stream, StubGateway, changed, golden, logged, problem, serve, sse, view

SUBMIT = SubmitInvocation(text="deploy staging api-service")
HASH = "sha256:" + "a" * 64
PATHS = {
    "send_message": "/v1/messages",
    "submit": "/v1/invocations",
    "vote": "/v1/invocations/inv_01/votes",
    "cancel": "/v1/invocations/inv_01/cancel",
    "decide": "/v1/decisions",
}


@pytest.fixture(scope="module")
def stub() -> Iterator[StubGateway]:
    with serve() as running:
        yield running


@pytest.fixture
def gateway(stub: StubGateway) -> StubGateway:
    stub.forget()
    return stub


@pytest_asyncio.fixture
async def client(gateway: StubGateway, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    monkeypatch.setattr(client_module, "RETRY_WAIT_S", 0.01)
    monkeypatch.setattr(client_module, "FIRST_PAUSE_S", 0.01)
    async with Client(gateway.url, "secret-token", timeout=5) as connected:
        yield connected


@pytest.mark.parametrize(
    ("call", "arguments", "answer"),
    [
        ("send_message", (SendMessage(text="help"),), "answer"),
        ("submit", (SUBMIT,), "invocation_view"),
        ("vote", ("inv_01", CastVote(verdict="approve", binding_hash=HASH)), "answer"),
        ("cancel", ("inv_01", CancelInvocation(reason="late")), "answer"),
        ("decide", (AskDecision(text="deploy"),), "what_if"),
    ],
)
async def test_each_post_sends_the_contract_and_gives_back_the_contract(
    gateway: StubGateway, client: Client, call: str, arguments: tuple[Any, ...], answer: str
) -> None:
    """With the caller's token and a fresh idempotency key."""
    gateway.when("POST", PATHS[call], Reply(golden(answer)))
    assert await getattr(client, call)(*arguments) == golden(answer)
    (seen,) = gateway.seen
    assert seen.body == arguments[-1].model_dump(mode="json")
    assert seen.headers["authorization"] == "Bearer secret-token"
    assert len(seen.headers["idempotency-key"]) >= 20


@pytest.mark.parametrize(
    ("call", "path", "answer"),
    [("whoami", "/v1/whoami", "who_am_i"), ("invocation", "/v1/invocations/inv_01", "invocation_view")],
)
async def test_each_look_gives_back_the_contract(
    gateway: StubGateway, client: Client, call: str, path: str, answer: str
) -> None:
    """One GET, one shape."""
    gateway.when("GET", path, Reply(golden(answer)))
    assert await getattr(client, call)(*(["inv_01"] if call == "invocation" else [])) == golden(answer)


@pytest.mark.parametrize(
    ("call", "path", "page", "cursor"),
    [
        ("invocations", "/v1/invocations", "page_of_invocations", "cursor"),
        ("log", "/v1/invocations/inv_01/log", "page_of_log_lines", "after"),
        ("audit", "/v1/audit", "page_of_audit_records", "after"),
    ],
)
async def test_lists_are_read_page_by_page_to_the_end(
    gateway: StubGateway, client: Client, call: str, path: str, page: str, cursor: str
) -> None:
    """Each page is asked for with the cursor that the one before gave."""
    first = golden(page)
    gateway.when("GET", path, Reply(first), Reply(first.model_copy(update={"next": None})))
    items = [item async for item in getattr(client, call)(*(["inv_01"] if call == "log" else []))]
    assert items == [*first.items, *first.items]
    assert [call.query.get(cursor) for call in gateway.seen][1] == first.next


async def test_a_list_that_is_not_read_to_its_end_is_not_fetched_to_its_end(
    gateway: StubGateway, client: Client
) -> None:
    """Pages come as you read; filters travel, and what was not given does not."""
    gateway.when("GET", "/v1/invocations", Reply(golden("page_of_invocations")))
    async with aclosing(client.invocations(state=State.PENDING, service="api-service", page_size=1)) as found:
        assert (await anext(found)).id == "inv_01"
    assert [call.query for call in gateway.seen] == [{"limit": "1", "state": "pending", "service": "api-service"}]


async def test_the_catalog_comes_whole(gateway: StubGateway, client: Client) -> None:
    """For autocompletion and help."""
    page: Page[CommandView] = golden("page_of_commands")
    gateway.when("GET", "/v1/commands", Reply(page))
    assert await client.commands() == page.items


async def test_a_development_gateway_gives_a_persona_s_token(gateway: StubGateway) -> None:
    """It needs no token to ask for one."""
    gateway.when("POST", "/v1/dev/personas/alice/token", Reply({"token": "t", "expires_in": 3600}))
    async with Client(gateway.url, "") as nobody:
        assert (await nobody.persona_token("alice")).token == "t"
    assert "authorization" not in gateway.seen[0].headers


# Sending once more


@pytest.mark.parametrize(
    "trouble",
    [
        Reply("{}", broken=True),
        problem("store_unavailable", 503, "The database is away.", {"retry-after": "0"}),
    ],
    ids=["connection lost", "503 with Retry-After"],
)
async def test_a_post_that_met_trouble_is_sent_once_more_with_the_same_key(
    gateway: StubGateway, client: Client, trouble: Reply
) -> None:
    """So that it has its effect once, whether or not the first one arrived."""
    gateway.when("POST", "/v1/invocations", trouble, Reply(view()))
    assert (await client.submit(SUBMIT, key="delivery-7")).id == "inv_01"
    assert [call.headers["idempotency-key"] for call in gateway.seen] == ["delivery-7", "delivery-7"]
    assert gateway.seen[0].body == gateway.seen[1].body


async def test_a_fresh_key_is_kept_for_the_second_try(gateway: StubGateway, client: Client) -> None:
    """And another call gets another one."""
    gateway.when("POST", "/v1/invocations", Reply("{}", broken=True), Reply(view()))
    await client.submit(SUBMIT)
    await client.submit(SUBMIT)
    first, second, third = (call.headers["idempotency-key"] for call in gateway.seen)
    assert first == second != third


@pytest.mark.parametrize(
    ("trouble", "tries"),
    [
        (problem("store_unavailable", 503, "Away.", {"retry-after": "0"}), 2),
        (problem("store_unavailable", 503, "Away."), 1),
        (problem("store_unavailable", 503, "Away.", {"retry-after": "600"}), 1),
        (problem("rate_limited", 429, "Slower.", {"retry-after": "1"}), 1),
        (problem("internal", 500, "A defect."), 1),
    ],
    ids=["503 twice", "503 without Retry-After", "503 for long", "429", "500"],
)
async def test_trouble_that_stays_is_told_and_not_hammered(
    gateway: StubGateway, client: Client, trouble: Reply, tries: int
) -> None:
    """At most one more try, and only where the gateway said that it helps."""
    gateway.when("POST", "/v1/invocations", trouble)
    with pytest.raises(GatewayRefused) as refused:
        await client.submit(SUBMIT)
    assert len(gateway.seen) == tries
    said = trouble.headers.get("retry-after")
    assert refused.value.retry_after_s == (None if said is None else float(said))


# What is not passed on


async def test_a_problem_is_an_error_with_the_problem_in_it(gateway: StubGateway, client: Client) -> None:
    """Its words are the gateway's."""
    told = problem("bad_command", 422, "There is no deplyo.", suggestion="deploy staging api-service")
    gateway.when("POST", "/v1/invocations", told)
    with pytest.raises(GatewayRefused, match="no deplyo") as refused:
        await client.submit(SUBMIT)
    assert (refused.value.problem.code, refused.value.problem.suggestion) == (
        "bad_command",
        "deploy staging api-service",
    )


@pytest.mark.parametrize(
    "answer",
    [
        Reply("<html>hello</html>", headers={"content-type": "text/html"}),
        Reply({"id": "alice"}),
        Reply({**golden("who_am_i").model_dump(mode="json"), "surprise": 1}),
        Reply("moved", 307, {"location": "http://127.0.0.1:1/elsewhere"}),
        Reply("not here", 404),
        Reply("{}", 400, {"content-type": "application/problem+json"}),
    ],
    ids=["a page", "half a shape", "an unknown field", "a redirect", "a bare 404", "a broken problem"],
)
async def test_an_answer_in_other_words_than_the_contracts_is_refused(
    gateway: StubGateway, client: Client, answer: Reply
) -> None:
    """Above all a redirect: the token goes nowhere else."""
    gateway.when("GET", "/v1/whoami", answer)
    with pytest.raises(BadAnswer, match="Check the URL"):
        await client.whoami()
    assert len(gateway.seen) == 1


@pytest.mark.parametrize("url", ["", "gateway", "ftp://gateway", "http://", "http://[::1"])
def test_a_url_that_is_none_is_told_at_once(url: str) -> None:
    """Before anything is sent."""
    with pytest.raises(Mistake, match="http://host:8420"):
        Client(url, "t")


@pytest.mark.parametrize("token", ["a b", "a\r\nX-Evil: 1", "schlüssel"])
def test_a_token_that_cannot_be_a_header_is_told_at_once(token: str) -> None:
    """Copied with its line end, for example."""
    with pytest.raises(Mistake, match="token"):
        Client("http://gateway", token)


@pytest.mark.parametrize("name", ["", "..", "../../v1/audit", "a/b", "a?b", "a b", "ä", "x" * 300])
async def test_an_id_that_would_lead_elsewhere_is_never_sent(gateway: StubGateway, client: Client, name: str) -> None:
    """An id is one segment of a path and nothing else."""
    for call in (client.invocation(name), client.persona_token(name), client.cancel(name, CancelInvocation())):
        with pytest.raises(Mistake, match="is no id"):
            await call
    assert gateway.seen == []


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_proxy_without_a_gateway_behind_it_is_unreachable(
    gateway: StubGateway, client: Client, status: int
) -> None:
    """What a load balancer says when nobody is there."""
    gateway.when("GET", "/v1/whoami", Reply("Bad Gateway", status))
    with pytest.raises(GatewayUnreachable, match=f"answered {status}"):
        await client.whoami()


async def test_a_gateway_that_does_not_answer_in_time_is_unreachable(gateway: StubGateway) -> None:
    """`timeout` holds for each answer."""
    gateway.when("GET", "/v1/whoami", Reply(golden("who_am_i"), after_s=2))
    async with Client(gateway.url, "t", timeout=0.1) as hasty:
        with pytest.raises(GatewayUnreachable, match="cannot be reached"):
            await hasty.whoami()


async def test_no_gateway_at_all_is_unreachable(unused_tcp_port: int) -> None:
    """The line says where it looked."""
    async with Client(f"http://127.0.0.1:{unused_tcp_port}", "t") as client:
        with pytest.raises(GatewayUnreachable, match=str(unused_tcp_port)):
            await client.submit(SUBMIT)


async def test_proxies_of_the_environment_are_not_used(gateway: StubGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token goes to the gateway and to nobody else."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    gateway.when("GET", "/v1/whoami", Reply(golden("who_am_i")))
    async with Client(gateway.url, "t") as client:
        assert (await client.whoami()).id == "alice"


# The feed


async def first(client: Client, count: int, **options: Any) -> list[int]:
    """The ids of the first events of the feed."""
    found: list[int] = []
    async with asyncio.timeout(5), aclosing(client.events(**options)) as events:
        async for event in events:
            found.append(event.id)
            if len(found) == count:
                break
    return found


async def test_the_feed_goes_on_after_the_last_event_when_the_connection_breaks(
    gateway: StubGateway, client: Client
) -> None:
    """No event is lost, none comes twice, a half one is sent again whole."""
    whole = sse(changed(3, view()))
    gateway.when(
        "GET",
        "/v1/events",
        Stream((sse(changed(1, view()), logged(2, (1, "a"))), whole[:40])),
        Reply("", 502),
        problem("store_unavailable", 503, "Away.", {"retry-after": "0"}),
        Stream((sse(logged(2, (1, "a"))), whole, sse(changed(9, view()))), stays=True),
    )
    assert await first(client, 4, channel="ops", invocation="inv_01") == [1, 2, 3, 9]
    assert [call.headers.get("last-event-id") for call in gateway.seen] == [None, "2", "2", "2"]
    assert {tuple(call.query.items()) for call in gateway.seen} == {(("channel", "ops"), ("invocation", "inv_01"))}


async def test_the_feed_starts_after_the_event_you_name(gateway: StubGateway, client: Client) -> None:
    """What an adapter does after a restart; 0 is the feed's beginning."""
    gateway.when("GET", "/v1/events", Stream((sse(changed(8, view())),), stays=True))
    assert await first(client, 1, last_event_id=0) == [8]
    assert gateway.seen[0].headers["last-event-id"] == "0"


async def test_a_silent_feed_is_opened_again(
    gateway: StubGateway, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that died without a word is noticed by the missing keep-alives."""
    monkeypatch.setattr(client_module, "FEED_SILENCE_S", 0.1)
    gateway.when("GET", "/v1/events", Reply("", after_s=1), Stream((sse(changed(1, view())),), stays=True))
    assert await first(client, 1) == [1]
    assert len(gateway.seen) == 2


async def test_a_refused_feed_is_not_tried_again(gateway: StubGateway, client: Client) -> None:
    """An expired token does not get better by asking."""
    gateway.when("GET", "/v1/events", problem("unauthenticated", 401, "The token has expired. Get a new one."))
    with pytest.raises(GatewayRefused, match="expired"):
        await first(client, 1)
    assert len(gateway.seen) == 1


async def test_a_feed_that_cannot_be_opened_is_given_up_after_your_patience(unused_tcp_port: int) -> None:
    """An adapter has more of it than a person at a terminal."""
    begin = time.monotonic()
    async with Client(f"http://127.0.0.1:{unused_tcp_port}", "t") as client:
        with pytest.raises(GatewayUnreachable):
            await first(client, 1, patience_s=0.2)
    assert 0.2 <= time.monotonic() - begin < 3
