"""An identity provider that a test can break, over real HTTP, and its keys with a clock that a test moves."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from gateway.infra.jwt import IdTokenCheck, read_keys
from gateway.infra.oidc.documents import Document

NONCE = "n" * 43


@dataclass
class Provider:
    """Discovery, keys, tokens and userinfo over real HTTP on the loopback address. A test changes what it answers."""

    issuer: str = ""
    key: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    kid: str = "one"
    discovery: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    id_token: str = ""
    userinfo: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    hangs: bool = False
    fetched: list[str] = field(default_factory=list)
    posted: list[dict[str, list[str]]] = field(default_factory=list)

    def jwks(self) -> dict[str, Any]:
        return {"keys": [{**ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True), "kid": self.kid, "use": "sig"}]}

    def token(self, **changes: Any) -> str:
        """An ID token; None leaves a claim out."""
        now = int(time.time())
        usual = {"iss": self.issuer, "aud": "opsgate", "sub": "alice", "nonce": NONCE, "iat": now, "exp": now + 300}
        usual |= {"name": "Alice", "groups": ["members"]}
        body = {name: value for name, value in {**usual, **self.claims, **changes}.items() if value is not None}
        return jwt.encode(body, self.key, "ES256", headers={"kid": self.kid, **self.header})

    def body(self, path: str) -> Any:
        base = {name: f"{self.issuer}/{name}" for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
        return {
            "/.well-known/openid-configuration": {"issuer": self.issuer, **base, **self.discovery},
            "/jwks_uri": self.jwks(),
            "/token_endpoint": {"access_token": "a", "token_type": "Bearer", "id_token": self.id_token or self.token()},
            "/userinfo_endpoint": self.userinfo,
        }.get(path, {})

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
            path = head[0].split()[1]
            length = next((int(h.split(":")[1]) for h in head if h.lower().startswith("content-length:")), 0)
            if length:
                self.posted.append(parse_qs((await reader.readexactly(length)).decode()))
            self.fetched.append(path)
            if self.hangs:
                await asyncio.sleep(60)
            body = json.dumps(self.body(path)).encode()
            where = f"Location: {self.issuer}/elsewhere\r\n" if self.status == 302 else ""
            answer = (
                f"HTTP/1.1 {self.status} -\r\n{where}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            )
            writer.write(answer.encode() + b"Connection: close\r\n\r\n" + body)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    made = Provider()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.issuer = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield made
    server.close()


@dataclass
class Clock:
    at: float = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
async def keys(provider: Provider) -> AsyncIterator[tuple[Document[Any], Clock]]:
    """The provider's keys with a clock that a test moves."""
    clock = Clock()
    document: Document[Any] = Document(f"{provider.issuer}/jwks_uri", read_keys, clock)
    yield document, clock
    await document.close()


def check(provider: Provider, **changes: Any) -> IdTokenCheck:
    return IdTokenCheck(**{"issuer": provider.issuer, "client_id": "opsgate", "nonce": NONCE, **changes})


Keys = tuple[Document[Any], Clock]
