"""Signing in by a browser at a real OpenID provider, and everything that is tried to get in without it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import pytest

from tests.rig.gateways import DAY, HOUR, Desk, desk
from tests.rig.oidc import Browser, describe, form, host, link, rotate, told

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk(tmp_path_factory.mktemp("sign-in")) as found:
        yield found


@pytest.fixture
def at(shared: Desk) -> Iterator[Desk]:
    yield shared
    shared.rest()


def changed(address: str, **fields: str) -> str:
    """The address with these query fields instead."""
    parts = urlsplit(address)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()} | fields
    return urlunsplit(parts._replace(query=urlencode(query)))


def test_alice_signs_in_and_is_alice(at: Desk) -> None:
    """The page leads to the provider and back; from then on the browser is Alice, with the provider's groups."""
    browser = at.signed_in("alice")
    session = browser.session()
    assert (session["person"], session["name"], session["signs_in"]) == ("alice", "Alice", True)
    me = browser.api("GET", "/v1/whoami").json()
    assert me["assurance"] == "oidc"
    assert "team:payments" in me["groups"]
    assert at.audit("sign_in.console")[-1].actor == "alice"


def test_a_second_factor_is_known_and_kept(at: Desk) -> None:
    """The provider says how: `amr` or `acr` names a second factor."""
    browser = at.signed_in("alice", mfa=True)
    assert browser.api("GET", "/v1/whoami").json()["assurance"] == "oidc_mfa"


def test_the_cookie_is_for_this_host_and_no_script(at: Desk) -> None:
    """HttpOnly, Lax, for the whole site; on this laptop's http without Secure, elsewhere `__Host-` (see below)."""
    browser = at.browser()
    callback = browser.to_callback(browser.get(link(browser.get("/login"))), "alice")
    set_cookie = browser.get(callback, follow=False).headers["set-cookie"]
    assert set_cookie.startswith("opsgate=opt_")
    assert {"HttpOnly", "Path=/", "SameSite=lax"} <= {part.strip() for part in set_cookie.split(";")}
    assert "Domain" not in set_cookie


def test_no_secret_of_a_sign_in_is_in_the_store(at: Desk) -> None:
    """State, nonce, verifier and token are found nowhere in the database, not even before the browser is back."""
    browser = at.browser()
    page = browser.get(link(browser.get("/login")))
    callback = browser.to_callback(page, "alice")
    browser.get(callback)
    secrets = [parse_qs(urlsplit(callback).query)["state"][0]]
    secrets += [c.value for c in browser.http.cookies.jar if c.name.startswith("opsgate") and c.value]
    with sqlite3.connect(at.house.store._engine.url.database or "") as connection:
        dump = "\n".join(connection.iterdump())
    assert len(secrets) == 3
    assert not [s for s in secrets if s in dump or s.removeprefix("opt_") in dump]


def test_somebody_new_gets_a_name_made_from_their_subject(at: Desk) -> None:
    """They are themselves at the next sign-in too; what they call themselves changes nothing."""
    describe(at.provider, "0a1b-erin", name="Erin", groups=["members"])
    first = at.signed_in("0a1b-erin").session()
    assert first["person"].startswith("u-")
    assert len(first["person"]) == 12
    describe(at.provider, "0a1b-erin", name="Alice", groups=["members"])
    again = at.signed_in("0a1b-erin").session()
    assert (again["person"], again["name"]) == (first["person"], "Alice")


def test_groups_of_the_provider_count_until_they_are_stale_and_never_make_somebody_the_gateway(at: Desk) -> None:
    """`opsgate` and `oncall:` are what the gateway alone says of somebody."""
    describe(at.provider, "0a1b-fred", name="Fred", groups=["members", "opsgate", "oncall:ledger", "team:web"])
    browser = at.signed_in("0a1b-fred")
    assert browser.api("GET", "/v1/whoami").json()["groups"] == ["members", "team:web"]
    with at.clock.later(7 * HOUR):
        assert browser.api("GET", "/v1/whoami").json()["groups"] == ["members", "team:web"]
        with at.clock.later(6 * HOUR):
            assert browser.api("GET", "/v1/whoami").json()["groups"] == []


# ---- what is tried ---------------------------------------------------------------------------------------------------


def returned(at: Desk) -> tuple[Browser, str]:
    """A browser that is about to come back from the provider as Alice, and where to."""
    browser = at.browser()
    return browser, browser.to_callback(browser.get(link(browser.get("/login"))), "alice")


def test_t55_a_forged_state_signs_nobody_in(at: Desk) -> None:
    """A callback with a state that this gateway never made."""
    browser, callback = returned(at)
    answer = browser.get(changed(callback, state="A" * 43))
    assert answer.status_code == 401
    assert "Start again" in told(answer)
    assert browser.session()["person"] is None


def test_t55_a_callback_without_the_browsers_cookie_signs_nobody_in(at: Desk) -> None:
    """Login CSRF: a link to the attacker's finished sign-in, opened in another browser. It does not end theirs."""
    browser, callback = returned(at)
    victim = at.browser()
    assert victim.get(callback).status_code == 401
    assert victim.session()["person"] is None
    victim.http.cookies.set("opsgate-sign-in", "B" * 43)
    assert victim.get(callback).status_code == 401
    browser.get(callback)
    assert browser.session()["person"] == "alice"


def test_a_replayed_callback_is_over(at: Desk) -> None:
    """The same address twice: the second changes nothing."""
    browser, callback = returned(at)
    browser.get(callback)
    assert browser.get(callback).status_code == 401


def test_a_code_of_another_sign_in_is_refused(at: Desk) -> None:
    """A stolen code in one's own callback: the provider wants the verifier of the sign-in it is from (PKCE)."""
    _, stolen = returned(at)
    browser, own = returned(at)
    code = parse_qs(urlsplit(stolen).query)["code"][0]
    answer = browser.get(changed(own, code=code))
    assert answer.status_code == 401
    assert at.audit("sign_in.refused")[-1].body["why"].startswith("The identity provider's answer is not accepted")
    assert browser.get(own).status_code == 401  # the sign-in is burnt


def test_another_provider_cannot_answer(at: Desk) -> None:
    """Mix-up: the answer names another issuer (RFC 9207), or leaves out the name it always tells."""
    for name in ("https://evil.example", ""):
        browser, callback = returned(at)
        assert browser.get(changed(callback, iss=name)).status_code == 401


def test_nobody_at_the_provider_is_nobody_here(at: Desk) -> None:
    """Cancelled there."""
    browser = at.browser()
    page = browser.get(link(browser.get("/login")))
    answer = browser.choose(page, "")
    assert answer.status_code == 401
    assert "Nobody signed in" in told(answer)


def test_a_sign_in_takes_ten_minutes_at_most(at: Desk) -> None:
    """Then its state is over."""
    browser, callback = returned(at)
    with at.clock.later(601):
        assert browser.get(callback).status_code == 401


@pytest.mark.parametrize(
    "then",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)", "/ /x"],
)
def test_t55_signing_in_leads_to_own_pages_only(at: Desk, then: str) -> None:
    """Whatever address is put into the link."""
    browser = at.browser()
    page = browser.get(f"/login?{urlencode({'then': then})}")
    begin = changed(link(page), then=then)
    browser.choose(browser.get(begin), "alice", follow=True)
    assert {host(address) for address in browser.trail} <= {host(at.url), host(at.provider.issuer)}
    assert urlsplit(browser.trail[-1]).path == "/"


def test_session_fixation_a_sign_in_always_makes_a_new_session(at: Desk) -> None:
    """A session that was in the browser before is not carried over, and ends."""
    browser = at.signed_in("alice")
    before = browser.http.cookies["opsgate"]
    browser.get("/login/begin?then=/v1/session")
    assert browser.http.cookies["opsgate"] != before
    old = at.browser()
    old.http.cookies.set("opsgate", before)
    assert old.session()["person"] is None


def test_new_keys_of_the_provider_are_taken_up(at: Desk) -> None:
    """The provider rotated: the token names a key nobody knows yet, which is looked up once."""
    at.signed_in("alice")
    rotate(at.provider)
    assert at.signed_in("bob").session()["person"] == "bob"


# ---- CSRF ------------------------------------------------------------------------------------------------------------


def test_a_script_of_another_page_changes_nothing(at: Desk) -> None:
    """The cookie alone is not enough: the page's own value, and the page's own origin."""
    browser = at.signed_in("alice")
    csrf, other = browser.session()["csrf"], at.signed_in("bob").session()["csrf"]
    tries = (
        ("", "same-origin"),
        ("wrong", "same-origin"),
        (other, "same-origin"),
        (csrf, "cross-site"),
        (csrf, "same-site"),
        (csrf, ""),
    )
    for value, site in tries:
        answer = browser.api("POST", "/v1/session/revoke-all", value, site)
        assert answer.status_code == 403, (value, site)
    assert browser.session()["person"] == "alice"
    for origin, status in (("https://evil.example", 403), (at.url, 204)):
        answer = browser.api("POST", "/v1/session/revoke-all", csrf, "", headers={"Origin": origin})
        assert answer.status_code == status


def test_a_form_of_another_page_signs_nobody_out(at: Desk) -> None:
    """The same for forms."""
    browser = at.signed_in("alice")
    action, hidden = form(browser.get("/logout"))
    assert browser.post(action, {}).status_code == 403
    assert browser.post(action, hidden, site="cross-site").status_code == 403
    assert browser.session()["person"] == "alice"
    assert "signed out" in browser.post(action, hidden).text
    assert browser.session()["person"] is None


def test_a_bearer_token_needs_no_csrf_value(at: Desk) -> None:
    """No browser sends one by itself."""
    with at.persona("alice") as http:
        assert http.post("/v1/session/revoke-all").status_code == 204


# ---- how a session ends ----------------------------------------------------------------------------------------------


def test_a_session_ends_when_it_is_not_used_for_eight_hours(at: Desk) -> None:
    """And not while it is used."""
    browser = at.signed_in("alice")
    with at.clock.later(7.5 * HOUR):
        assert browser.api("GET", "/v1/whoami").status_code == 200
        with at.clock.later(7.5 * HOUR):
            assert browser.api("GET", "/v1/whoami").status_code == 200
            with at.clock.later(8.1 * HOUR):
                assert browser.api("GET", "/v1/whoami").status_code == 401


def test_a_session_ends_after_a_day_however_much_it_is_used(at: Desk) -> None:
    """Absolute."""
    browser = at.signed_in("alice")
    for hours in (6, 12, 18, 23.9):
        with at.clock.later(hours * HOUR):
            assert browser.api("GET", "/v1/whoami").status_code == 200
    with at.clock.later(DAY):
        assert browser.api("GET", "/v1/whoami").status_code == 401


def test_signing_out_ends_this_session_only(at: Desk) -> None:
    """The cookie is worth nothing from then on, even where it was copied to."""
    here, there, copy = at.signed_in("alice"), at.signed_in("alice"), at.browser()
    copy.http.cookies.set("opsgate", here.http.cookies["opsgate"])
    assert here.api("DELETE", "/v1/session", here.session()["csrf"]).status_code == 204
    assert (copy.session()["person"], there.session()["person"]) == (None, "alice")


def test_signing_out_everywhere_ends_every_session_of_hers_and_nobody_elses(at: Desk) -> None:
    """Alice's, in every browser; Bob stays."""
    one, two, bob = at.signed_in("alice"), at.signed_in("alice"), at.signed_in("bob")
    action, hidden = form(one.get("/logout"))
    one.post(action, {**hidden, "everywhere": "yes"})
    assert (one.session()["person"], two.session()["person"], bob.session()["person"]) == (None, None, "bob")
    assert at.audit("sign_out.everywhere")[-1].actor == "alice"
