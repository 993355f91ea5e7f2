"""The door to PyJWT: checks people's tokens, signs and checks job tickets, issues persona tokens when embedded.

Every option that PyJWT leaves open is closed here (threats 42-46): algorithms are fixed per issuer, claims required,
audiences strict, lifetimes bounded, and keys come from pinned files only, never from a token's header.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
_TYPES = ("at+jwt", "application/at+jwt")
_ASYMMETRIC = {"RS256", "RS384", "RS512", "ES256", "ES384", "PS256", "EdDSA"}
PERSONAS = "opsgate-personas"


@dataclass(frozen=True)
class Issuer:
    """Whose tokens are accepted, with which algorithms and keys, and what they prove."""

    name: str
    audience: str
    algorithms: tuple[str, ...]
    keys: dict[str, PyJWK]
    assurance: Assurance
    method: str = "token"


class BadIssuers(ValueError):
    """The issuers file is not right; the text says what to do."""


def load_issuers(path: Path) -> list[Issuer]:
    """`issuers: [{issuer, audience, algorithms, jwks_file, assurance?}]`. Raises BadIssuers."""
    try:
        entries = (yaml.safe_load(path.read_text()) or {}).get("issuers", [])
        if not entries:
            raise ValueError("it names no issuer, so nobody could sign in")
        return [_issuer(e, path.parent) for e in entries]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError, jwt.PyJWTError) as error:
        wanted = "It must hold `issuers`, each with issuer, audience, algorithms, jwks_file."
        raise BadIssuers(f"{path}: {' '.join(str(error).split())}. {wanted}") from None


def _issuer(entry: dict[str, Any], folder: Path) -> Issuer:
    if entry["issuer"] == PERSONAS:
        raise ValueError(f"{PERSONAS} is the practice room's own issuer; name another")
    algorithms = tuple(entry["algorithms"])
    if not algorithms or not set(algorithms) <= _ASYMMETRIC:
        raise ValueError(f"algorithms of {entry['issuer']} must be among {', '.join(sorted(_ASYMMETRIC))}")
    keys = PyJWKSet.from_dict(json.loads((folder / entry["jwks_file"]).read_text())).keys
    return Issuer(
        name=entry["issuer"],
        audience=entry.get("audience", AUDIENCE),
        algorithms=algorithms,
        keys={k.key_id: k for k in keys if k.key_id},
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
        """Raises Refused (401); the answer never says which check failed beyond expiry."""
        try:
            return self._verify(token)
        except jwt.ExpiredSignatureError:
            raise Refused(Code.UNAUTHENTICATED, 401, "This token has expired. Sign in again.") from None
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            raise Refused(Code.UNAUTHENTICATED, 401, "This token is not accepted. Sign in again.") from None

    def _verify(self, token: str) -> Claims:
        if len(token) > MAX_TOKEN:
            raise ValueError("token too long")
        header = jwt.get_unverified_header(token)
        if str(header.get("typ", "")).lower() not in _TYPES:
            raise ValueError("wrong typ")
        unproven = jwt.decode(token, options={"verify_signature": False})
        issuer = self._issuers[str(unproven["iss"])]  # only chooses the pinned keys; proven below
        claims = jwt.decode(
            token,
            issuer.keys[str(header["kid"])],
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
        return Claims(subject=str(claims["sub"]), assurance=issuer.assurance, method=issuer.method)


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
        return Issuer(PERSONAS, AUDIENCE, ("ES256",), {"dev": jwk}, Assurance.OIDC, "persona")

    def persona_token(self, person: str) -> tuple[str, int]:
        """A token for a persona, and its life in seconds. Only the embedded profile offers this."""
        now = int(time.time())
        claims = {"iss": PERSONAS, "aud": AUDIENCE, "sub": person, "iat": now, "exp": now + PERSONA_LIFE_S}
        return jwt.encode(claims, self._key, "ES256", headers={"typ": "at+jwt", "kid": "dev"}), PERSONA_LIFE_S
