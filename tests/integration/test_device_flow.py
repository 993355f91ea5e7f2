"""Terminals sign in: by the browser of the same machine, and by a code typed somewhere else. And `opsgate login`."""

from __future__ import annotations

import base64
import hashlib
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest

from dev.embedded import ROOT
from dev.processes import clean_environment
from gateway.flows.terminals import DEVICE_GRANT
from tests.rig.gateways import HOUR, Desk, desk
from tests.rig.oidc import Browser, form, link, told

pytestmark = pytest.mark.slow

VERIFIER = "v" * 50
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
BACK = "http://127.0.0.1:7/callback"
ASKED = {
    "response_type": "code",
    "client_id": "opsgate-cli",
    "redirect_uri": BACK,
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
    "state": "state-of-a-terminal",
    "name": "alices-laptop",
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk(tmp_path_factory.mktemp("terminals")) as found:
        yield found


@pytest.fixture
def at(shared: Desk) -> Iterator[Desk]:
    yield shared
    shared.rest()


def oauth(at: Desk, path: str, **fields: str) -> httpx2.Response:
    return httpx2.post(f"{at.url}/oauth/{path}", data={"client_id": "opsgate-cli", **fields}, trust_env=False)


def whoami(at: Desk, token: str) -> httpx2.Response:
    signed = {"Authorization": f"Bearer {token}"}
    return httpx2.get(f"{at.url}/v1/whoami", headers=signed, trust_env=False)


def let_in(browser: Browser, asked: dict[str, str], allow: str = "yes") -> dict[str, str]:
    """Clicks on the page; what the terminal's own port is told."""
    page = browser.get(f"/oauth/authorize?{urlencode(asked)}")
    action, hidden = form(page)
    answer = browser.post(action, {**hidden, "allow": allow}, follow=False)
    assert answer.headers["location"].startswith(f"{asked['redirect_uri']}?"), answer.text
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


def redeem(at: Desk, code: str, verifier: str = VERIFIER, redirect_uri: str = BACK) -> httpx2.Response:
    fields = {"code": code, "code_verifier": verifier, "redirect_uri": redirect_uri}
    return oauth(at, "token", grant_type="authorization_code", **fields)


# ---- back to the terminal's own port ---------------------------------------------------------------------------------


def test_a_click_gives_the_terminal_a_token_of_its_own(at: Desk) -> None:
    """Named after its machine; good for twelve hours, and no longer."""
    browser = at.signed_in("alice")
    page = browser.get(f"/oauth/authorize?{urlencode(ASKED)}").text
    assert "alices-laptop" in page
    assert "Alice" in page
    said = let_in(browser, ASKED)
    assert said["state"] == ASKED["state"]
    answer = redeem(at, said["code"])
    assert answer.headers["cache-control"] == "no-store"
    token = answer.raise_for_status().json()
    assert (token["token_type"], token["expires_in"]) == ("Bearer", 12 * 3600)
    me = whoami(at, token["access_token"]).json()
    assert (me["id"], me["assurance"]) == ("alice", "oidc")
    with at.clock.later(12.1 * HOUR):
        assert whoami(at, token["access_token"]).status_code == 401


def test_nobody_signed_in_is_sent_to_sign_in_first_and_comes_back(at: Desk) -> None:
    """With everything the terminal asked."""
    browser = at.browser()
    page = browser.get(f"/oauth/authorize?{urlencode(ASKED)}")
    assert "Sign in at" in page.text
    page = browser.choose(browser.get(link(page)), "alice")
    assert "Let a terminal in?" in page.text
    assert dict(parse_qs(urlsplit(str(page.url)).query))["state"] == [ASKED["state"]]


def test_no_is_an_answer(at: Desk) -> None:
    """The terminal is told, in the words of RFC 6749."""
    assert let_in(at.signed_in("alice"), ASKED, "no") == {"error": "access_denied", "state": ASKED["state"]}


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/callback",
        "http://evil.example:7/callback",
        "http://127.0.0.1.evil.example:7/callback",
        "http://127.0.0.1:7@evil.example/callback",
        "http://127.0.0.1:7/callback/../x",
        "http://127.0.0.1:7/callback?x=1",
        "http://127.0.0.1/callback",
        "http://localhost:7/callback",
        "http://127.0.0.1:99999/callback",
        "",
    ],
)
def test_t55_a_code_goes_to_this_machine_only(at: Desk, address: str) -> None:
    """Any other address is told on the page, never sent to."""
    answer = at.signed_in("alice").get(f"/oauth/authorize?{urlencode({**ASKED, 'redirect_uri': address})}")
    assert (answer.status_code, len(at.browsers[-1].trail)) == (422, 1)
    assert "its own machine" in told(answer)


def test_a_terminal_without_pkce_is_refused(at: Desk) -> None:
    """Also with `plain`."""
    for change in ({"code_challenge": ""}, {"code_challenge_method": "plain"}):
        answer = at.signed_in("alice").get(f"/oauth/authorize?{urlencode({**ASKED, **change})}")
        assert answer.status_code == 422


def test_another_page_cannot_click_for_her(at: Desk) -> None:
    """CSRF on the one click that gives a token away."""
    browser = at.signed_in("alice")
    action, hidden = form(browser.get(f"/oauth/authorize?{urlencode(ASKED)}"))
    assert browser.post(action, {"allow": "yes"}).status_code == 403
    assert browser.post(action, {**hidden, "allow": "yes"}, site="cross-site").status_code == 403


def test_a_stolen_code_is_worth_nothing(at: Desk) -> None:
    """Without the verifier, at another address, or after a minute."""
    browser = at.signed_in("alice")
    code = let_in(browser, ASKED)["code"]
    assert redeem(at, code, "w" * 50).json()["error"] == "invalid_grant"
    assert redeem(at, code, redirect_uri="http://127.0.0.1:8/callback").json()["error"] == "invalid_grant"
    with at.clock.later(61):
        assert redeem(at, code).json()["error"] == "invalid_grant"
    assert redeem(at, code).status_code == 200


def test_a_code_used_twice_ends_what_it_gave(at: Desk) -> None:
    """One of the two was a thief."""
    code = let_in(at.signed_in("alice"), ASKED)["code"]
    token = redeem(at, code).json()["access_token"]
    assert redeem(at, code).json()["error"] == "invalid_grant"
    assert whoami(at, token).status_code == 401
    assert at.audit("sign_in.terminal.replayed")[-1].actor == "alice"


def test_signing_out_everywhere_ends_terminals_too(at: Desk) -> None:
    """From the browser."""
    browser = at.signed_in("alice")
    token = redeem(at, let_in(browser, ASKED)["code"]).json()["access_token"]
    browser.api("POST", "/v1/session/revoke-all", browser.session()["csrf"])
    assert whoami(at, token).status_code == 401


def test_a_token_can_be_ended_by_who_has_it(at: Desk) -> None:
    """RFC 7009; an unknown one is no error."""
    token = redeem(at, let_in(at.signed_in("alice"), ASKED)["code"]).json()["access_token"]
    assert oauth(at, "revoke", token="opt_" + "x" * 43).status_code == 200
    assert oauth(at, "revoke", token=token).status_code == 200
    assert whoami(at, token).status_code == 401


# ---- by a code -------------------------------------------------------------------------------------------------------


def device(at: Desk) -> dict[str, Any]:
    found: dict[str, Any] = oauth(at, "device_authorization", name="server-7").raise_for_status().json()
    return found


def poll(at: Desk, code: str) -> dict[str, str]:
    found: dict[str, str] = oauth(at, "token", grant_type=DEVICE_GRANT, device_code=code).json()
    return found


def confirm(browser: Browser, user_code: str, allow: str) -> httpx2.Response:
    """Types the code, sees the machine, clicks."""
    action, hidden = form(browser.get("/device"))
    page = browser.post(action, {**hidden, "user_code": user_code})
    action, hidden = form(page)
    found: httpx2.Response = browser.post(action, {**hidden, "allow": allow})
    return found


def test_a_code_typed_elsewhere_signs_the_terminal_in(at: Desk) -> None:
    """The person sees which machine asks, and from where, before they click."""
    asked = device(at)
    assert re.fullmatch(r"[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", asked["user_code"])
    assert (asked["interval"], asked["expires_in"]) == (5, 600)
    assert poll(at, asked["device_code"])["error"] == "authorization_pending"
    browser = at.signed_in("alice", mfa=True)
    action, hidden = form(browser.get(asked["verification_uri_complete"]))
    page = browser.post(action, {**hidden, "user_code": asked["user_code"].replace("-", "").lower()})
    assert "server-7" in page.text
    assert "127.0.0.1" in page.text
    assert "signed in" in confirm(browser, asked["user_code"], "yes").text
    with at.clock.later(6):
        token = poll(at, asked["device_code"])["access_token"]
    me = whoami(at, token).json()
    assert (me["id"], me["assurance"]) == ("alice", "oidc_mfa")
    with at.clock.later(12):
        assert poll(at, asked["device_code"])["error"] == "invalid_grant"  # once
    assert at.audit("sign_in.device.allowed")[-1].body["name"] == "server-7"


def test_who_asks_too_often_is_told_to_slow_down(at: Desk) -> None:
    """And must wait longer from then on."""
    code = device(at)["device_code"]
    assert poll(at, code)["error"] == "authorization_pending"
    assert poll(at, code)["error"] == "slow_down"
    with at.clock.later(6):
        assert poll(at, code)["error"] == "slow_down"
    with at.clock.later(30):
        assert poll(at, code)["error"] == "authorization_pending"


def test_no_ends_the_terminals_wait(at: Desk) -> None:
    """`access_denied`; and the code is over for everybody."""
    asked, browser = device(at), at.signed_in("alice")
    assert "stays out" in confirm(browser, asked["user_code"], "no").text
    assert poll(at, asked["device_code"])["error"] == "access_denied"
    action, hidden = form(browser.get("/device"))
    assert "No terminal shows" in told(browser.post(action, {**hidden, "user_code": asked["user_code"]}))


def test_a_code_is_good_for_ten_minutes(at: Desk) -> None:
    """Then `expired_token`, and the page knows it no more."""
    asked, browser = device(at), at.signed_in("alice")
    with at.clock.later(601):
        assert poll(at, asked["device_code"])["error"] == "expired_token"
        action, hidden = form(browser.get("/device"))
        assert browser.post(action, {**hidden, "user_code": asked["user_code"]}).status_code == 404


def test_what_the_gateway_does_not_know_gets_the_words_of_the_standard(at: Desk) -> None:
    """RFC 6749 5.2."""
    assert poll(at, "nonsense")["error"] == "invalid_grant"
    assert oauth(at, "token", grant_type="password").json()["error"] == "unsupported_grant_type"
    assert oauth(at, "token", client_id="evil").json()["error"] == "invalid_client"
    assert oauth(at, "device_authorization", client_id="evil").status_code == 401
    twice = httpx2.post(f"{at.url}/oauth/token", content=b"client_id=a&client_id=b", trust_env=False)
    assert twice.json()["error"] == "invalid_request"


def test_a_persona_cannot_let_a_terminal_in(at: Desk) -> None:
    """Only who signed in at the provider can: the pages know cookies only."""
    with at.persona("alice") as http:
        answer = http.get("/device")
    assert answer.headers["location"].endswith("/login?then=%2Fdevice")


# ---- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture
def terminal(at: Desk, tmp_path: Path) -> dict[str, str]:
    """The environment of a terminal with a home of its own and no keyring."""
    own = {"OPSGATE_URL": at.url, "XDG_CONFIG_HOME": str(tmp_path), "OPSGATE_KEYRING": "off", "PYTHONUNBUFFERED": "1"}
    return clean_environment() | own


def opsgate(terminal: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "opsgate", *words]
    return subprocess.run(command, env=terminal, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)


def start(terminal: dict[str, str], *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "opsgate", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=terminal, cwd=ROOT, text=True, **pipes)  # type: ignore[call-overload,no-any-return]


def said(process: subprocess.Popen[str], pattern: str) -> str:
    """The first line it prints that fits."""
    assert process.stdout is not None
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = re.search(pattern, process.stdout.readline())
        if found:
            return found[1]
    raise AssertionError(f"it never said {pattern}")


def test_opsgate_login_signs_in_by_the_browser_and_every_command_uses_it(
    at: Desk, terminal: dict[str, str], tmp_path: Path
) -> None:
    """The token is in a file only its owner reads; `logout` ends it, here and at the gateway."""
    assert "opsgate login" in opsgate(terminal, "whoami").stderr
    login = start(terminal, "login", "--no-browser")
    address = said(login, r"(http://\S+/oauth/authorize\S+)")
    browser = at.signed_in("alice")
    action, hidden = form(browser.get(address))
    assert "You are signed in" in browser.post(action, {**hidden, "allow": "yes"}).text
    out, err = login.communicate(timeout=20)
    assert (login.returncode, err) == (0, "")
    assert "Signed in as Alice (alice) for 12 h" in out
    kept = tmp_path / "opsgate" / "tokens.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert '"alice"' in opsgate(terminal, "whoami", "--json").stdout
    token = re.search(r"opt_[\w-]+", kept.read_text())
    assert token
    assert opsgate(terminal, "logout").stdout == "Signed out.\n"
    assert whoami(at, token[0]).status_code == 401
    assert opsgate(terminal, "whoami").returncode == 2


def test_opsgate_login_refuses_an_answer_with_another_state(at: Desk, terminal: dict[str, str]) -> None:
    """Somebody else on this machine guesses the port; the terminal waits on for its own answer."""
    login = start(terminal, "login", "--no-browser")
    address = said(login, r"(http://\S+/oauth/authorize\S+)")
    back = parse_qs(urlsplit(address).query)["redirect_uri"][0]
    forged = httpx2.get(f"{back}?code=x&state=y", trust_env=False)
    assert forged.status_code == 404
    browser = at.signed_in("alice")
    action, hidden = form(browser.get(address))
    browser.post(action, {**hidden, "allow": "no"})
    _, err = login.communicate(timeout=20)
    assert login.returncode == 1
    assert "refused in the browser" in err


def test_opsgate_login_device_waits_for_the_code(at: Desk, terminal: dict[str, str]) -> None:
    """On a machine without a browser."""
    login = start(terminal, "login", "--device")
    code = said(login, r"code ([A-Z]{4}-[A-Z]{4})")
    confirm(at.signed_in("bob"), code, "yes")
    out, err = login.communicate(timeout=30)
    assert (login.returncode, err) == (0, "")
    assert "Signed in as Bob" in out
    assert opsgate(terminal, "logout").returncode == 0


def test_a_token_file_others_can_read_is_not_used(terminal: dict[str, str], tmp_path: Path) -> None:
    """It says what to do."""
    kept = tmp_path / "opsgate" / "tokens.json"
    kept.parent.mkdir()
    kept.write_text("{}")
    kept.chmod(0o644)
    assert "Delete it and run `opsgate login` again" in opsgate(terminal, "whoami").stderr
