"""What a measurement runs against: real Redis, OPA, gateway, workers and fleet as processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from dev.policies import OpaServer
from dev.processes import Child, answers, free_port, listens

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Rig:
    gate_url: str
    null_url: str
    opa_url: str
    token: str


def person_key(folder: Path) -> str:
    """Writes an RSA key pair and the issuers file; a token for Alice that lives an hour."""
    key = rsa.generate_private_key(65537, 2048)
    pem = serialization.PublicFormat.SubjectPublicKeyInfo
    (folder / "public.pem").write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, pem))
    jwk = {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": "bench", "alg": "RS256"}
    (folder / "jwks.json").write_text(json.dumps({"keys": [jwk]}))
    entry = {"issuer": "bench", "audience": "opsgate", "algorithms": ["RS256"], "jwks_file": "jwks.json"}
    (folder / "issuers.yaml").write_text(json.dumps({"issuers": [entry]}))
    now = int(time.time())
    claims = {"iss": "bench", "aud": "opsgate", "sub": "alice", "iat": now, "exp": now + 3600}
    return jwt.encode(claims, key, "RS256", headers={"kid": "bench", "typ": "at+jwt"})


def directory(folder: Path, people: int) -> Path:
    """The practice directory with so many more people. JSON is YAML."""
    import yaml

    base = yaml.safe_load((ROOT / "examples" / "acme" / "directory.yaml").read_text())
    base["people"] += [
        {"id": f"p{n}", "name": f"Person {n}", "groups": ["members", f"team:t{n % 500}"]} for n in range(people)
    ]
    path = folder / f"directory-{people}.json"
    path.write_text(json.dumps(base))
    return path


def opa(parts: ExitStack, folder: Path) -> OpaServer:
    server = OpaServer(ROOT / "policies", folder)
    server.start()
    parts.callback(server.stop)
    return server


@contextmanager
def running(folder: Path) -> Iterator[Rig]:
    """Everything, up. Raises SystemExit without a redis-server."""
    if shutil.which("redis-server") is None:
        raise SystemExit("The bench needs a redis-server: apt-get install redis-server")
    with ExitStack() as parts:
        port = free_port()
        redis_command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        redis = parts.enter_context(_child("redis", [*redis_command, "--dir", str(folder)], folder, {}))
        redis.wait_ready(lambda: listens(port))
        broker = f"redis://127.0.0.1:{port}/0"
        token = person_key(folder)
        policy = opa(parts, folder)
        null = _null(parts, folder, f"redis://127.0.0.1:{port}/1")
        gate = _gate(parts, folder, broker, policy.url)
        yield Rig(gate, null, policy.url, token)


def _null(parts: ExitStack, folder: Path, broker: str) -> str:
    port = free_port()
    env = {"BENCH_BROKER": broker, "BENCH_PUBLIC_KEY": str(folder / "public.pem")}
    serve = [sys.executable, "-m", "uvicorn", "bench.null_endpoint:app", "--port", str(port), "--no-access-log"]
    child = parts.enter_context(_child("null", serve, folder, env))
    consume = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "bench.null_endpoint:celery",
        "worker",
        "-P",
        "solo",
        "-l",
        "error",
    ]
    parts.enter_context(_child("null-worker", consume, folder, env))
    child.wait_ready(lambda: answers(f"http://127.0.0.1:{port}/openapi.json"))
    return f"http://127.0.0.1:{port}/v1/invocations"


def _gate(parts: ExitStack, folder: Path, broker: str, opa_url: str) -> str:
    port, fleet = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    secret = "bench-worker-token-of-32-letters"
    sandbox = [sys.executable, "-m", "sandbox", "--port", str(fleet), "--data", str(folder / "fleet.db")]
    parts.enter_context(_child("sandbox", sandbox, folder, {}))
    gateway = {
        "OPSGATE_PROFILE": "embedded",  # SQLite with an fsync at each commit; a real Redis as broker and for limits
        "OPSGATE_DATA_DIR": str(folder / "data"),
        "OPSGATE_PORT": str(port),
        "OPSGATE_REDIS_URL": broker,
        "OPSGATE_BROKER_URL": broker,
        "OPSGATE_OPA_URL": opa_url,
        "OPSGATE_TOKEN_ISSUERS_FILE": str(folder / "issuers.yaml"),
        "OPSGATE_WORKER_TOKEN": secret,
        "OPSGATE_RATE_PER_MINUTE": "100000000",
        "OPSGATE_OPA_DEADLINE_MS": "5000",  # latency is what is measured here; a deadline would turn it into denials
        "OPSGATE_LOG_LEVEL": "error",
    }
    child = parts.enter_context(_child("gateway", [sys.executable, "-m", "gateway"], folder, gateway))
    worker = {
        "OPSGATE_GATEWAY_URL": url,
        "OPSGATE_WORKER_TOKEN": secret,
        "OPSGATE_BROKER_URL": broker,
        "OPSGATE_SANDBOX_URL": f"http://127.0.0.1:{fleet}",
        "OPSGATE_WORKER_NAME": "bench-worker",
    }
    child.wait_ready(lambda: answers(f"{url}/readyz"))
    parts.enter_context(_child("worker", [sys.executable, "-m", "workers"], folder, worker))
    return url


@contextmanager
def _child(name: str, command: list[str], folder: Path, env: dict[str, str]) -> Iterator[Child]:
    child = Child(name, command, folder / f"{name}.log", env={**os.environ, **env}, cwd=ROOT)
    try:
        yield child
    finally:
        child.stop()
