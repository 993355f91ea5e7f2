"""An issuer of bearer tokens for the production profile: a key, its JWKS file, and the issuers file that trusts it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jwt
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

AUDIENCE = "opsgate"


class Issuer:
    """Signs ES256 access tokens (RFC 9068 shape). `issuers_file` is what OPSGATE_TOKEN_ISSUERS_FILE names."""

    def __init__(self, folder: Path, name: str = "https://login.acme.test", key_id: str = "key-1") -> None:
        self.name, self.key_id = name, key_id
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.jwks_file, self.issuers_file = folder / "jwks.json", folder / "issuers.yaml"
        public: dict[str, Any] = ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        self.jwks_file.write_text(json.dumps({"keys": [{**public, "kid": key_id, "use": "sig", "alg": "ES256"}]}))
        trusted = {"issuer": name, "audience": AUDIENCE, "jwks_file": str(self.jwks_file), "algorithms": ["ES256"]}
        self.issuers_file.write_text(yaml.safe_dump({"issuers": [trusted]}))

    def token(self, person: str, ttl_s: int = 3600, **claims: Any) -> str:
        """A token for this person's id. `claims` add to or replace the usual ones; None leaves one out."""
        now = int(time.time())
        usual = {"iss": self.name, "aud": AUDIENCE, "sub": person, "iat": now, "exp": now + ttl_s}
        body = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        return jwt.encode(body, self.key, algorithm="ES256", headers={"typ": "at+jwt", "kid": self.key_id})


def write_private_key(file: Path) -> Path:
    """A new EC P-256 private key as PEM, readable by its owner only."""
    file.touch(mode=0o600)
    file.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return file
