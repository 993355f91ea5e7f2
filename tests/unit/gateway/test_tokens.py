"""Bearer tokens and job tickets: every option that a JWT library leaves open is closed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.domain.errors import Refused
from gateway.infra.jwt import JwtTokens, KeyRing, load_or_make_key

KEY = ec.generate_private_key(ec.SECP256R1())
RING = KeyRing(KEY, "gateway-1")
TOKENS = JwtTokens([RING.persona_issuer()])
HEADERS = {"typ": "at+jwt", "kid": "dev"}


def token(headers: dict[str, Any] | None = None, key: Any = KEY, alg: str = "ES256", **changes: Any) -> str:
    now = int(time.time())
    claims = {"iss": "opsgate-personas", "aud": "opsgate", "sub": "alice", "iat": now, "exp": now + 600, **changes}
    return jwt.encode(
        {k: v for k, v in claims.items() if v is not None}, key, alg, headers={**HEADERS, **(headers or {})}
    )


async def test_a_good_token_names_its_person() -> None:
    """The rest of this file is about tokens that are not."""
    assert (await TOKENS.verify(token())).subject == "alice"


NOW = int(time.time())
BAD: dict[str, str] = {
    "t42_alg_none": token(key=None, alg="none"),
    "t42_hmac_with_a_secret": token(key="s" * 64, alg="HS256"),
    "t43_no_exp": token(exp=None),
    "t43_no_iat": token(iat=None),
    "t43_exp_in_ten_years": token(exp=NOW + 10 * 365 * 86_400),
    "t43_expired": token(iat=NOW - 7200, exp=NOW - 3600),
    "t43_another_typ": token({"typ": "JWT"}),
    "t06_another_audience": token(aud="another"),
    "t06_list_of_audiences": token(aud=["opsgate", "another"]),
    "t42_another_issuer": token(iss="evil"),
    "t42_another_key": token(key=ec.generate_private_key(ec.SECP256R1())),
    "t44_kid_is_a_path": token({"kid": "../../etc/passwd"}),
    "t44_kid_is_sql": token({"kid": "' OR 1=1 --"}),
    "t44_jku_is_ignored": token({"jku": "https://evil.example/jwks", "kid": "evil"}),
    "rubbish": "not-a-token",
    "ticket_as_token": RING.issue("inv_0123456789", "sha256:" + "0" * 64, time.time_ns()),
    "too_long": "a" * 10_000,
}


@pytest.mark.parametrize("name", BAD)
async def test_t42_t43_t44_a_bad_token_is_refused(name: str) -> None:
    """One answer for all of them, and it names no check."""
    with pytest.raises(Refused) as refused:
        await TOKENS.verify(BAD[name])
    assert refused.value.status == 401


def test_t35_a_ticket_is_for_one_job_as_it_was_approved() -> None:
    """Another job, another hash, another key or a person's token wakes nothing."""
    now = time.time_ns()
    ticket = RING.issue("inv_0123456789", "sha256:a", now)
    assert RING.check(ticket, "inv_0123456789", "sha256:a")
    assert not RING.check(ticket, "inv_9999999999", "sha256:a")
    assert not RING.check(ticket, "inv_0123456789", "sha256:b")
    assert not KeyRing(ec.generate_private_key(ec.SECP256R1()), "x").check(ticket, "inv_0123456789", "sha256:a")
    assert not RING.check(token(), "inv_0123456789", "sha256:a")
    assert not RING.check(
        RING.issue("inv_0123456789", "sha256:a", now - 3 * 86_400 * 10**9), "inv_0123456789", "sha256:a"
    )


def test_the_key_of_the_embedded_profile_is_made_once_and_private(tmp_path: Path) -> None:
    """Restarting keeps tokens and tickets good; nobody else can read the key."""
    path = tmp_path / "key.pem"
    first = load_or_make_key(path, make=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_or_make_key(path, make=True).private_numbers() == first.private_numbers()
