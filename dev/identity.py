"""An OpenID provider on this machine, to practise and test sign-in with: a process of its own, on the loopback address.

Refuses a package that is not what `package-lock.json` says; it is installed once for each lock, outside the repository.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dev.machine import find_program, install_line
from dev.processes import Child, answers, free_port

HERE = Path(__file__).resolve().parent / "identity_provider"
PACKAGE_FILES = ("package.json", "package-lock.json")
CLIENT_ID = "opsgate"
PEOPLE: Mapping[str, Mapping[str, Any]] = {
    "alice": {"name": "Alice", "groups": ["members", "developers", "team:payments"]},
    "bob": {"name": "Bob", "groups": ["members", "developers", "team:payments", "owners:api-service"]},
    "carol": {"name": "Carol", "groups": ["members", "security"]},
    "dave": {"name": "Dave", "groups": []},
}
"""Who can sign in: `sub`, and the claims about them."""


class NoProvider(Exception):
    """The practice provider cannot run here; the text says what to do."""


def _program(name: str, package: str) -> str:
    found = find_program(name)
    if not found:
        raise NoProvider(f"Signing in for practice needs {name}. Install with: {install_line([package])}")
    return found


def installed() -> Path:
    """The folder with the provider and its packages, made at the first use. Raises NoProvider."""
    node, npm = _program("node", "nodejs"), _program("npm", "npm")
    del node  # only that it is there
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in PACKAGE_FILES)).hexdigest()
    home = os.environ.get("OPSGATE_CACHE")
    cache = Path(home) if home else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "opsgate"
    folder = cache / f"identity-provider-{digest[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "identity-provider.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs may begin at once
        if not (folder / "whole").exists():
            _install(npm, folder)
    shutil.copy(HERE / "server.mjs", folder / "server.mjs")  # beside its packages, where node looks for them
    return folder


def _install(npm: str, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in PACKAGE_FILES:
        shutil.copy(HERE / name, folder / name)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise NoProvider(f"The practice identity provider could not be installed (npm ci): {last}")
    (folder / "whole").touch()


@dataclass
class IdentityProvider:
    """A running provider with one client: the gateway at `gateway_urls`. Stop it."""

    gateway_urls: tuple[str, ...]
    data: Path
    people: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: PEOPLE)
    client_secret: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    port: int = field(default_factory=free_port)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> IdentityProvider:
        """Raises NoProvider, ChildFailed."""
        folder = installed()
        client = {
            "client_id": CLIENT_ID,
            "client_secret": self.client_secret,
            "redirect_uris": [f"{url}/login/callback" for url in self.gateway_urls],
        }
        facts = {"port": self.port, "client": client, "people": dict(self.people)}
        env = {"PATH": os.environ.get("PATH", ""), "OPSGATE_PRACTICE": json.dumps(facts)}
        command = [_program("node", "nodejs"), folder / "server.mjs"]
        self.child = Child("the identity provider", command, self.data / "identity-provider.log", env=env, cwd=folder)
        self.child.wait_ready(lambda: answers(f"{self.issuer}/.well-known/openid-configuration"))
        return self

    def stop(self) -> None:
        self.child.stop()

    def settings(self) -> dict[str, Any]:
        """What a gateway is told of it: fields of its settings."""
        return {
            "oidc_issuer": self.issuer,
            "oidc_client_id": CLIENT_ID,
            "oidc_client_secret": self.client_secret,
            "oidc_scopes": "openid profile groups",
            "oidc_acr_values": "mfa",
        }
