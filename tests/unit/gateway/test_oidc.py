"""The door to identity providers: what is asked there, what is believed of the answer, and how it is set up."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.domain.errors import Refused, Unavailable
from gateway.domain.identity import Asking, Returned
from gateway.infra.jwt import BadIssuers, IdTokenCheck, JwtTokens, load_issuers, read_keys, verify_id_token
from gateway.infra.oidc.documents import Document
from gateway.infra.oidc.provider import Client, OidcProvider
from gateway.settings import Settings
from tests.unit.gateway.identity_parts import NONCE, Keys, Provider, keys, provider

__all__ = ["keys", "provider"]


# ---- signing in ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def door(provider: Provider) -> AsyncIterator[OidcProvider[Any]]:
    client = Client(
        provider.issuer,
        "opsgate",
        "secret",
        "http://127.0.0.1:1/login/callback",
        "openid",
        "groups",
        frozenset({"mfa"}),
    )

    async def verify(token: str, signed_by: Document[Any], nonce: str, since_s: int) -> dict[str, Any]:
        return await verify_id_token(token, signed_by, IdTokenCheck(provider.issuer, "opsgate", nonce, since_s))

    made: OidcProvider[Any] = OidcProvider(client, read_keys, verify)
    yield made
    await made.close()


ASKING = Asking("s" * 43, NONCE, "v" * 43)


async def test_the_address_carries_everything_that_ties_the_answer_to_it(door: OidcProvider[Any]) -> None:
    """State, nonce, PKCE by S256; for a step-up the provider must ask again."""
    query = parse_qs(urlsplit(await door.url(ASKING)).query)
    assert query["state"] == [ASKING.state]
    assert query["nonce"] == [NONCE]
    assert query["code_challenge_method"] == ["S256"]
    assert ASKING.verifier not in str(query)
    assert "prompt" not in query
    again = parse_qs(urlsplit(await door.url(Asking("s", NONCE, "v" * 43, 1))).query)
    assert (again["prompt"], again["max_age"]) == (["login"], ["0"])


async def test_who_signed_in_is_read_from_the_id_token(provider: Provider, door: OidcProvider[Any]) -> None:
    """The code is exchanged with the verifier; groups that are the gateway's own words are left out."""
    provider.claims = {"groups": ["members", "members", "opsgate", "oncall:x", 7, ""], "acr": "mfa", "name": "A\u202el"}
    found = await door.identify(ASKING, Returned("the-code"))
    assert (found.subject, found.name, found.groups, found.second_factor) == ("alice", "Al", ("members",), True)
    assert provider.posted[0]["code_verifier"] == [ASKING.verifier]
    assert provider.posted[0]["code"] == ["the-code"]


@pytest.mark.parametrize(("claims", "factor"), [({"amr": ["pwd", "mfa"]}, True), ({"amr": "mfa"}, False), ({}, False)])
async def test_a_second_factor_is_what_the_setting_says(
    provider: Provider, door: OidcProvider[Any], claims: dict[str, Any], factor: bool
) -> None:
    """A value of `acr` or among `amr`."""
    provider.claims = claims
    assert (await door.identify(ASKING, Returned("c"))).second_factor is factor


async def test_groups_come_from_userinfo_when_the_id_token_has_none(
    provider: Provider, door: OidcProvider[Any]
) -> None:
    """Some providers do it so; but who it is, only the ID token says."""
    provider.discovery = {"userinfo_endpoint": f"{provider.issuer}/userinfo_endpoint"}
    provider.claims = {"groups": None}
    provider.userinfo = {"sub": "alice", "groups": ["developers"], "amr": ["pwd"]}
    assert (await door.identify(ASKING, Returned("c"))).groups == ("developers",)
    provider.userinfo = {"sub": "bob", "groups": ["owners:api-service"]}
    with pytest.raises(Refused):
        await door.identify(ASKING, Returned("c"))


@pytest.mark.parametrize("name", ["nonce", "audience", "error", "iss", "no code", "old sign-in"])
async def test_an_answer_to_another_sign_in_is_refused(provider: Provider, door: OidcProvider[Any], name: str) -> None:
    """One sentence for all; the log has the reason."""
    provider.claims = {"nonce": {"nonce": "x" * 43}, "audience": {"aud": "another"}}.get(name, {})
    returned = {
        "error": Returned("c", error="access_denied"),
        "iss": Returned("c", issuer="https://evil.example"),
        "no code": Returned(""),
    }.get(name, Returned("c"))
    asking = Asking("s", NONCE, "v" * 43, time.time_ns() if name == "old sign-in" else 0)
    with pytest.raises(Refused, match="Start again") as refused:
        await door.identify(asking, returned)
    assert refused.value.status == 401


async def test_a_provider_that_is_gone_is_unavailable_not_a_refusal(
    provider: Provider, door: OidcProvider[Any]
) -> None:
    """503, within seconds; nobody is let in."""
    await door.url(ASKING)
    provider.hangs = True
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await door.identify(ASKING, Returned("c"))
    assert time.monotonic() - began < 8


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://login.acme.com/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": None},
    ],
    ids=str,
)
async def test_t44_a_discovery_document_that_leads_elsewhere_is_not_used(
    provider: Provider, door: OidcProvider[Any], change: dict[str, Any]
) -> None:
    """Its issuer must be the one that was configured, its addresses as safe as it."""
    provider.discovery = change
    with pytest.raises(Unavailable):
        await door.url(ASKING)


async def test_a_redirect_of_the_token_endpoint_is_not_followed(provider: Provider, door: OidcProvider[Any]) -> None:
    """The client's secret goes nowhere else."""
    await door.url(ASKING)
    provider.status = 302
    with pytest.raises((Refused, Unavailable)):
        await door.identify(ASKING, Returned("c"))
    assert "/elsewhere" not in provider.fetched


# ---- token issuers and settings --------------------------------------------------------------------------------------


async def test_t46_a_token_issuer_may_publish_its_keys(provider: Provider, keys: Keys, tmp_path: Path) -> None:
    """`jwks_url` in the place of `jwks_file`: the same cache, the same checks."""
    entry = {"issuer": provider.issuer, "algorithms": ["ES256"], "jwks_url": f"{provider.issuer}/jwks_uri"}
    file = tmp_path / "issuers.yaml"
    file.write_text(yaml.safe_dump({"issuers": [entry]}))
    tokens = JwtTokens(load_issuers(file, lambda url, read: keys[0]))
    provider.header = {"typ": "at+jwt"}
    assert (await tokens.verify(provider.token())).subject == "alice"
    provider.key, provider.kid = ec.generate_private_key(ec.SECP256R1()), "two"
    assert (await tokens.verify(provider.token())).subject == "alice"
    keys[1].at += 4000
    provider.status = 500
    with pytest.raises(Unavailable):
        await tokens.verify(provider.token())


def test_an_issuer_has_one_place_of_keys_and_a_safe_one(tmp_path: Path) -> None:
    """All said with what to do."""
    file = tmp_path / "issuers.yaml"
    for entry in (
        {"issuer": "i", "algorithms": ["ES256"]},
        {"issuer": "i", "algorithms": ["ES256"], "jwks_url": "https://x/y", "jwks_file": "z"},
        {"issuer": "i", "algorithms": ["ES256"], "jwks_url": "http://login.acme.com/keys"},
        {"issuer": "i", "algorithms": ["HS256"], "jwks_url": "https://x/y"},
    ):
        file.write_text(yaml.safe_dump({"issuers": [entry]}))
        with pytest.raises(BadIssuers):
            load_issuers(file, lambda url, read: Document(url, read))


def problems(**given: Any) -> str:
    with pytest.raises(ValueError) as found:
        Settings(**given)
    return str(found.value)


def test_settings_of_the_provider_are_checked_together() -> None:
    """Every problem at once; https, except on this machine."""
    told = problems(profile="embedded", oidc_issuer="http://login.acme.com", oidc_scopes="profile")
    assert "oidc_issuer" in told
    assert "oidc_scopes" in told
    told = problems(profile="embedded", oidc_issuer="https://login.acme.com")
    assert "oidc_client_id" in told
    assert "oidc_client_secret" in told
    assert "public_url" in problems(profile="production", public_url="http://ops.acme.com")
    Settings(profile="embedded", oidc_issuer="http://127.0.0.1:1", oidc_client_id="x", oidc_client_secret="y")
