"""The door to PyJWT: checks people's tokens, signs and checks job tickets, issues persona tokens when embedded.

Every option that PyJWT leaves open is closed here (threats 42-46): algorithms are fixed per issuer, claims required,
audiences strict, lifetimes bounded, and keys come from pinned places only, never from a token's header.
"""

from __future__ import annotations

import hmac
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jwt
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt import PyJWK, PyJWKSet

from gateway.domain.errors import Refused
from gateway.domain.ports import Claims
from opsgate.contracts.base import Assurance
from opsgate.contracts.problems import Code

AUDIENCE = "opsgate"
LEEWAY_S = 30
MAX_LIFE_S = 24 * 3600
TICKET_LIFE_S = 24 * 3600
PERSONA_LIFE_S = 8 * 3600
MAX_TOKEN = 8192
MAX_ID_TOKEN = 32 * 1024
ID_TOKEN_AGE_S = 600
"""An ID token is read the moment it is issued; an older one was kept by somebody."""
MAX_ACTORS = 5
_TYPES = ("at+jwt", "application/at+jwt")
_ASYMMETRIC = {"RS256", "RS384", "RS512", "ES256", "ES384", "PS256", "EdDSA"}
PERSONAS = "opsgate-personas"


class Keys(Protocol):
    """An issuer's public keys by key id. `again`: they were looked at anew, as far as that is allowed just now."""

    async def now(self) -> Mapping[str, PyJWK]: ...
    async def again(self) -> Mapping[str, PyJWK]: ...


Remote = Callable[[str, Callable[[dict[str, Any]], dict[str, PyJWK]]], Keys]
"""Makes the Keys that are published at an address, given what reads them. Raises ValueError for a bad address."""


class Pinned:
    """Keys of a file, or our own: always the same."""

    def __init__(self, keys: dict[str, PyJWK]) -> None:
        self._keys = keys

    async def now(self) -> Mapping[str, PyJWK]:
        return self._keys

    async def again(self) -> Mapping[str, PyJWK]:
        return self._keys


def read_keys(document: dict[str, Any]) -> dict[str, PyJWK]:
    """The keys of a JWKS that sign, by key id. Raises ValueError when there is none."""
    try:
        keys = PyJWKSet.from_dict(document).keys
    except (jwt.PyJWTError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no key set: {error}") from None
    found = {k.key_id or "": k for k in keys if k.key_type != "oct" and k.public_key_use in (None, "sig")}
    if not found:
        raise ValueError("no key in it is one to check signatures with")
    return found


async def _key(keys: Keys, kid: object) -> PyJWK:
    """The key a token names; it is only ever looked up, never fetched from where the token says. Raises KeyError."""
    found = await keys.now()
    if kid is None and len(found) == 1:
        return next(iter(found.values()))
    if str(kid) not in found:
        found = await keys.again()
    return found[str(kid)]


@dataclass(frozen=True)
class Issuer:
    """Whose tokens are accepted, with which algorithms and keys, and what they prove."""

    name: str
    audience: str
    algorithms: tuple[str, ...]
    keys: Keys
    assurance: Assurance
    method: str = "token"


class BadIssuers(ValueError):
    """The issuers file is not right; the text says what to do."""


def load_issuers(path: Path, remote: Remote) -> list[Issuer]:
    """`issuers: [{issuer, audience, algorithms, jwks_file or jwks_url, assurance?}]`. Raises BadIssuers."""
    try:
        entries = (yaml.safe_load(path.read_text()) or {}).get("issuers", [])
        if not entries:
            raise ValueError("it names no issuer, so nobody could sign in")
        return [_issuer(e, path.parent, remote) for e in entries]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError, jwt.PyJWTError) as error:
        wanted = "It must hold `issuers`, each with issuer, audience, algorithms, and jwks_file or jwks_url."
        raise BadIssuers(f"{path}: {' '.join(str(error).split())}. {wanted}") from None


def _issuer(entry: dict[str, Any], folder: Path, remote: Remote) -> Issuer:
    if entry["issuer"] == PERSONAS:
        raise ValueError(f"{PERSONAS} is the practice room's own issuer; name another")
    algorithms = tuple(entry["algorithms"])
    if not algorithms or not set(algorithms) <= _ASYMMETRIC:
        raise ValueError(f"algorithms of {entry['issuer']} must be among {', '.join(sorted(_ASYMMETRIC))}")
    if ("jwks_file" in entry) == ("jwks_url" in entry):
        raise ValueError(f"{entry['issuer']} needs either jwks_file or jwks_url")
    keys: Keys
    if "jwks_url" in entry:
        keys = remote(str(entry["jwks_url"]), read_keys)
    else:
        keys = Pinned(read_keys(json.loads((folder / entry["jwks_file"]).read_text())))
    return Issuer(
        name=entry["issuer"],
        audience=entry.get("audience", AUDIENCE),
        algorithms=algorithms,
        keys=keys,
        assurance=Assurance(entry.get("assurance", "oidc")),
    )


def load_or_make_key(path: Path, *, make: bool) -> ec.EllipticCurvePrivateKey:
    """The gateway's signing key. `make`: create it (mode 0600) when absent, for the embedded profile."""
    if make and not path.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
    loaded = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(loaded, ec.EllipticCurvePrivateKey) or not isinstance(loaded.curve, ec.SECP256R1):
        raise ValueError(f"{path} must hold an EC P-256 key: openssl ecparam -name prime256v1 -genkey -noout")
    return loaded


class JwtTokens:
    """See `gateway.domain.ports.Tokens`."""

    def __init__(self, issuers: list[Issuer]) -> None:
        self._issuers = {i.name: i for i in issuers}

    async def verify(self, token: str) -> Claims:
        """Raises Refused (401); the answer never says which check failed beyond expiry. Unavailable: no keys."""
        try:
            return await self._verify(token)
        except jwt.ExpiredSignatureError:
            raise Refused(Code.UNAUTHENTICATED, 401, "This token has expired. Sign in again.") from None
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            raise Refused(Code.UNAUTHENTICATED, 401, "This token is not accepted. Sign in again.") from None

    async def _verify(self, token: str) -> Claims:
        if len(token) > MAX_TOKEN:
            raise ValueError("token too long")
        header = jwt.get_unverified_header(token)
        if str(header.get("typ", "")).lower() not in _TYPES:
            raise ValueError("wrong typ")
        unproven = jwt.decode(token, options={"verify_signature": False})
        issuer = self._issuers[str(unproven["iss"])]  # only chooses the pinned keys; proven below
        claims = jwt.decode(
            token,
            await _key(issuer.keys, str(header["kid"])),
            algorithms=list(issuer.algorithms),
            audience=issuer.audience,
            issuer=issuer.name,
            leeway=LEEWAY_S,
            options={
                "require": ["exp", "iat", "iss", "aud", "sub"],
                "strict_aud": True,
                "enforce_minimum_key_length": True,
            },
        )
        life = int(claims["exp"]) - int(claims["iat"])
        if not 0 < life <= MAX_LIFE_S:
            raise ValueError("lifetime out of bounds")
        return Claims(str(claims["sub"]), issuer.assurance, issuer.method, _actors(claims.get("act")))


def _actors(act: Any) -> tuple[str, ...]:
    """Who acts for the subject, nearest first: the nested `act` claims of RFC 8693, section 4.1. Raises ValueError."""
    found: list[str] = []
    while act is not None:
        if not isinstance(act, dict) or not isinstance(act.get("sub"), str) or len(found) == MAX_ACTORS:
            raise ValueError("a malformed act claim")
        found.append(act["sub"])
        act = act.get("act")
    return tuple(found)


@dataclass(frozen=True)
class IdTokenCheck:
    """What an ID token must say. `since_s`: the person must have signed in after this (unix time); 0: whenever."""

    issuer: str
    client_id: str
    nonce: str
    since_s: int = 0


async def verify_id_token(token: str, keys: Keys, wanted: IdTokenCheck) -> dict[str, Any]:
    """Its claims, if it is the provider's answer to this very sign-in. Raises ValueError (what failed), Unavailable."""
    try:
        if len(token) > MAX_ID_TOKEN:
            raise ValueError("longer than any ID token")
        header = jwt.get_unverified_header(token)
        if str(header.get("typ", "JWT")).upper() != "JWT":
            raise ValueError("it is a token of another type")
        claims: dict[str, Any] = jwt.decode(
            token,
            await _key(keys, header.get("kid")),
            algorithms=sorted(_ASYMMETRIC),
            audience=wanted.client_id,
            issuer=wanted.issuer,
            leeway=LEEWAY_S,
            options={"require": ["exp", "iat", "iss", "aud", "sub", "nonce"], "enforce_minimum_key_length": True},
        )
        _check_id_claims(claims, wanted)
    except (jwt.PyJWTError, KeyError, TypeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None
    return claims


def _check_id_claims(claims: dict[str, Any], wanted: IdTokenCheck) -> None:
    """What PyJWT does not check: OpenID Connect Core 3.1.3.7, and how old is too old."""
    now = time.time()
    if (
        claims["aud"] not in (wanted.client_id, [wanted.client_id])
        or claims.get("azp", wanted.client_id) != wanted.client_id
    ):
        raise ValueError("it is meant for others too")
    if not hmac.compare_digest(str(claims["nonce"]).encode(), wanted.nonce.encode()):
        raise ValueError("it answers another sign-in (nonce)")
    if (
        now - float(claims["iat"]) > ID_TOKEN_AGE_S + LEEWAY_S
        or float(claims["exp"]) - float(claims["iat"]) > MAX_LIFE_S
    ):
        raise ValueError("it is too old, or good for too long")
    if not isinstance(claims["sub"], str) or not 0 < len(claims["sub"]) <= 255:
        raise ValueError("its subject is not a name of 1 to 255 characters")
    if wanted.since_s and float(claims["auth_time"]) < wanted.since_s - LEEWAY_S:
        raise ValueError("the person did not sign in again (auth_time)")


class KeyRing:
    """The gateway's own key: job tickets, and persona tokens in the embedded profile."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, node: str) -> None:
        self._key = key
        self._public = key.public_key()
        self._node = node

    def issue(self, job: str, binding_hash: str, now_ns: int) -> str:
        now = now_ns // 1_000_000_000
        claims = {"job": job, "hash": binding_hash, "iss": self._node, "aud": "opsgate-worker-api", "iat": now}
        return jwt.encode({**claims, "exp": now + TICKET_LIFE_S}, self._key, "ES256", headers={"typ": "opsgate-ticket"})

    def check(self, ticket: str, job: str, binding_hash: str) -> bool:
        """Whether this gateway issued this ticket for exactly this Job."""
        try:
            if jwt.get_unverified_header(ticket).get("typ") != "opsgate-ticket":
                return False
            claims = jwt.decode(
                ticket,
                self._public,
                algorithms=["ES256"],
                audience="opsgate-worker-api",
                leeway=LEEWAY_S,
                options={"require": ["exp", "iat", "aud", "job", "hash"], "strict_aud": True},
            )
        except (jwt.PyJWTError, ValueError, TypeError):
            return False
        return bool(claims["job"] == job and claims["hash"] == binding_hash)

    def persona_issuer(self) -> Issuer:
        jwk = PyJWK.from_dict(
            {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self._public)), "kid": "dev", "alg": "ES256"}
        )
        return Issuer(PERSONAS, AUDIENCE, ("ES256",), Pinned({"dev": jwk}), Assurance.OIDC, "persona")

    def persona_token(self, person: str) -> tuple[str, int]:
        """A token for a persona, and its life in seconds. Only the embedded profile offers this."""
        now = int(time.time())
        claims = {"iss": PERSONAS, "aud": AUDIENCE, "sub": person, "iat": now, "exp": now + PERSONA_LIFE_S}
        return jwt.encode(claims, self._key, "ES256", headers={"typ": "at+jwt", "kid": "dev"}), PERSONA_LIFE_S
