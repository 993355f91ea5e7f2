"""ID tokens and the keys that sign them: what is believed, from where, and for how long."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

from gateway.domain.errors import Unavailable
from gateway.infra.jwt import read_keys, verify_id_token
from gateway.infra.oidc.documents import Document, NotThere, is_private_enough
from tests.unit.gateway.identity_parts import NONCE, Keys, Provider, check, keys, provider

__all__ = ["keys", "provider"]


# ---- ID tokens -------------------------------------------------------------------------------------------------------


async def test_a_good_id_token_is_believed(provider: Provider, keys: Keys) -> None:
    """Also with one audience as a list, and with `azp` naming us."""
    for more in ({}, {"aud": ["opsgate"]}, {"azp": "opsgate"}):
        assert (await verify_id_token(provider.token(**more), keys[0], check(provider)))["sub"] == "alice"


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": "m" * 43},
        {"nonce": None},
        {"aud": "another"},
        {"aud": ["opsgate", "another"]},
        {"azp": "another"},
        {"iss": "https://evil.example"},
        {"exp": -60, "iat": -400},
        {"exp": None},
        {"iat": None},
        {"iat": -1200, "exp": 1200},
        {"iat": 600, "exp": 900},
        {"exp": 10 * 365 * 86_400},
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 256},
    ],
)
async def test_t43_an_id_token_for_another_or_of_another_time_is_refused(
    provider: Provider, keys: Keys, change: dict[str, Any]
) -> None:
    """A swapped nonce, another audience, expired, kept, from the future, good for years. Times in seconds from now."""
    now = int(time.time())
    change = {name: now + value if isinstance(value, int) else value for name, value in change.items()}
    with pytest.raises(ValueError, match=r"\w"):
        await verify_id_token(provider.token(**change), keys[0], check(provider))


def by_hand(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    """HMAC over anything with anything: PyJWT refuses to make such a token."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    signature = base64.urlsafe_b64encode(hmac.digest(secret, b".".join(parts), "sha256")).rstrip(b"=")
    return b".".join((*parts, signature)).decode()


async def test_t42_no_other_algorithm_is_believed(provider: Provider, keys: Keys) -> None:
    """`none`; HMAC with a secret; HMAC with the public key as the secret; another key with the right name."""
    claims = jwt.decode(provider.token(), options={"verify_signature": False})
    public = provider.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    other = ec.generate_private_key(ec.SECP256R1())
    forged = [
        jwt.encode(claims, "", "none", headers={"kid": "one"}),
        jwt.encode(claims, "s" * 64, "HS256", headers={"kid": "one"}),
        by_hand({"alg": "HS256", "kid": "one"}, claims, public),
        jwt.encode(claims, other, "ES256", headers={"kid": "one"}),
        jwt.encode(claims, rsa.generate_private_key(65537, 2048), "RS256", headers={"kid": "one"}),
        provider.token()[:-4] + "AAAA",
        "nonsense",
        "a" * 40_000,
    ]
    for token in forged:
        with pytest.raises(ValueError, match=r"\w"):
            await verify_id_token(token, keys[0], check(provider))


async def test_t42_a_key_set_with_a_secret_in_it_signs_nothing(provider: Provider) -> None:
    """A symmetric key among the published ones is no key; nor is one that encrypts, or one too weak."""
    with pytest.raises(ValueError, match="no key in it"):
        read_keys({"keys": [{"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "one"}]})
    with pytest.raises(ValueError, match="no key in it"):
        read_keys({"keys": [{**provider.jwks()["keys"][0], "use": "enc"}]})
    nonsenses: tuple[dict[str, Any], ...] = ({}, {"keys": []}, {"keys": "x"}, {"keys": [{}]})
    for nonsense in nonsenses:
        with pytest.raises(ValueError, match=r"\w"):
            read_keys(nonsense)
    weak = rsa.generate_private_key(65537, 1024)
    published = read_keys({"keys": [{**RSAAlgorithm.to_jwk(weak.public_key(), as_dict=True), "kid": "one"}]})
    now = int(time.time())
    claims = {"iss": "i", "aud": "opsgate", "sub": "a", "nonce": NONCE, "iat": now, "exp": now + 60}

    class Weak:
        async def now(self) -> Any:
            return published

        again = now

    with pytest.warns(match="key"):
        token = jwt.encode(claims, weak, "RS256", headers={"kid": "one"})
    with pytest.raises(ValueError, match="Key"):
        await verify_id_token(token, Weak(), check(provider, issuer="i"))


async def test_t44_a_token_never_says_where_its_key_is(provider: Provider, keys: Keys) -> None:
    """`jku`, `jwk`, `x5u` are not looked at; a kid is only looked up."""
    evil = Provider(issuer=provider.issuer)
    own = evil.jwks()["keys"][0]
    for header in ({"jku": f"{provider.issuer}/evil"}, {"x5u": f"{provider.issuer}/evil"}, {"jwk": own}):
        evil.header = header
        with pytest.raises(ValueError, match=r"\w"):
            await verify_id_token(evil.token(), keys[0], check(provider))
    for kid in ("../../etc/passwd", "' OR 1=1 --", f"{provider.issuer}/evil", "file:///etc/passwd"):
        evil.kid, evil.header = kid, {}
        with pytest.raises(ValueError, match=r"\w"):
            await verify_id_token(evil.token(), keys[0], check(provider))
    assert set(provider.fetched) == {"/jwks_uri"}


async def test_an_access_token_is_no_id_token_nor_the_other_way_round(provider: Provider, keys: Keys) -> None:
    """RFC 9068 names its type; we insist on both sides."""
    provider.header = {"typ": "at+jwt"}
    with pytest.raises(ValueError, match="another type"):
        await verify_id_token(provider.token(), keys[0], check(provider))


async def test_a_fresh_sign_in_is_one_after_it_was_asked_for(provider: Provider, keys: Keys) -> None:
    """`auth_time` must be there and not lie before; thirty seconds of the clocks' difference are forgiven."""
    now = int(time.time())
    for good in (now, now - 25):
        await verify_id_token(provider.token(auth_time=good), keys[0], check(provider, since_s=now))
    for bad in (now - 40, now - 3600, None, "yesterday"):
        with pytest.raises(ValueError, match=r"\w"):
            await verify_id_token(provider.token(auth_time=bad), keys[0], check(provider, since_s=now))


# ---- keys ------------------------------------------------------------------------------------------------------------


async def test_t45_a_flood_of_unknown_keys_does_not_keep_good_tokens_waiting(provider: Provider, keys: Keys) -> None:
    """A thousand random kids while the provider hangs: one fetch, and good tokens pass at once."""
    document, clock = keys
    await verify_id_token(provider.token(), document, check(provider))
    provider.hangs = True
    clock.at += 60
    flood = Provider(issuer=provider.issuer)
    tokens = []
    for number in range(1000):
        flood.kid = f"random-{number}"
        tokens.append(flood.token())
    bad = [asyncio.create_task(verify_id_token(t, document, check(provider))) for t in tokens]
    await asyncio.sleep(0.2)
    began = time.monotonic()
    for _ in range(20):
        await verify_id_token(provider.token(), document, check(provider))
    assert time.monotonic() - began < 1
    answers = await asyncio.gather(*bad, return_exceptions=True)
    assert all(isinstance(a, ValueError) for a in answers)
    assert provider.fetched.count("/jwks_uri") == 2


async def test_t46_new_keys_are_found_at_once_and_removed_ones_are_forgotten(provider: Provider, keys: Keys) -> None:
    """A rotated key is looked up when its first token comes; the old key counts no more once the set was read anew."""
    document = keys[0]
    old = provider.token()
    await verify_id_token(old, document, check(provider))
    provider.key, provider.kid = ec.generate_private_key(ec.SECP256R1()), "two"
    assert (await verify_id_token(provider.token(), document, check(provider)))["sub"] == "alice"
    with pytest.raises(ValueError, match=r"\w"):
        await verify_id_token(old, document, check(provider))


async def test_t46_a_key_set_is_read_anew_in_the_background_after_five_minutes(provider: Provider, keys: Keys) -> None:
    """Nobody waits for it."""
    document, clock = keys
    await document.now()
    clock.at += 299
    await document.now()
    assert provider.fetched == ["/jwks_uri"]
    clock.at += 2
    provider.hangs = True
    began = time.monotonic()
    await document.now()
    assert time.monotonic() - began < 0.5


@pytest.mark.parametrize("trouble", ["gone", "broken", "redirect", "empty"])
async def test_t46_an_outage_is_bridged_for_an_hour_and_no_longer(provider: Provider, keys: Keys, trouble: str) -> None:
    """The last good set is kept; then nobody is let in on it."""
    document, clock = keys
    await verify_id_token(provider.token(), document, check(provider))
    token = provider.token()
    match trouble:
        case "gone":
            provider.status = 500
        case "redirect":
            provider.status = 302
        case "broken" | "empty":
            provider.jwks = lambda: {"keys": []} if trouble == "empty" else {"no": "keys"}  # type: ignore[method-assign]
    for age in (400, 1000, 3500):
        clock.at = 1000 + age
        await verify_id_token(token, document, check(provider))
        await asyncio.sleep(0.05)
    clock.at = 1000 + 3601
    with pytest.raises(Unavailable) as gone:
        await verify_id_token(token, document, check(provider))
    assert gone.value.status == 503
    assert "/elsewhere" not in provider.fetched


async def test_t46_it_recovers_by_itself(provider: Provider, keys: Keys) -> None:
    """Down from the start, then up."""
    document, clock = keys
    provider.status = 503
    with pytest.raises(NotThere):
        await document.now()
    provider.status = 200
    with pytest.raises(NotThere):
        await document.now()  # not asked again at once
    clock.at += 6
    assert await document.now()


async def test_a_document_that_never_ends_is_given_up(provider: Provider, keys: Keys) -> None:
    """Three seconds, half a megabyte."""
    provider.hangs = True
    began = time.monotonic()
    with pytest.raises(NotThere, match="cannot be asked"):
        await keys[0].now()
    assert 2.5 < time.monotonic() - began < 5
    provider.hangs = False
    provider.jwks = lambda: {"keys": ["x" * 600_000]}  # type: ignore[method-assign]
    keys[1].at += 60
    with pytest.raises(NotThere):
        await keys[0].now()


@pytest.mark.parametrize(
    "address",
    ["http://login.acme.com/keys", "file:///etc/passwd", "ftp://x/y", "https://", "/keys", "https://u:p@x/", "x", ""],
)
def test_t44_only_https_or_this_machine_is_asked(address: str) -> None:
    """Whoever is in the middle of anything else could give us keys."""
    assert not is_private_enough(address)
    with pytest.raises(ValueError, match="https"):
        Document(address, read_keys)
    for good in ("https://login.acme.com/keys", "http://127.0.0.1:1/x", "http://[::1]:1/x", "http://localhost/x"):
        assert is_private_enough(good)
