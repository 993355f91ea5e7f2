"""A gateway in this process, so that a test can move its clock; everything else about it is real.

Refuses to be more than one gateway with one identity provider: whole houses are in `tests.rig.stages`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from pydantic import SecretStr

from dev.embedded import ROOT, listen
from dev.identity import IdentityProvider
from gateway.house import House
from gateway.main import create_app
from gateway.settings import Settings
from gateway.wiring import build
from opsgate.contracts.audit import AuditRecord
from tests.rig.oidc import Browser, identity_provider
from tests.stories.room import CHANNEL, eventually

HOUR, DAY = 3600.0, 86_400.0


@dataclass
class Clock:
    """The time, and how far it was moved."""

    ahead_s: float = 0

    def now_ns(self) -> int:
        return time.time_ns() + int(self.ahead_s * 1e9)

    @contextmanager
    def later(self, seconds: float) -> Iterator[None]:
        """So much later, for a while."""
        self.ahead_s += seconds
        try:
            yield
        finally:
            self.ahead_s -= seconds


@dataclass
class Desk:
    """One gateway, its clock and its provider; and whoever sits down before a browser."""

    url: str
    house: House
    clock: Clock
    provider: IdentityProvider
    browsers: list[Browser] = field(default_factory=list)

    def browser(self) -> Browser:
        """A fresh one, that knows nobody."""
        self.browsers.append(Browser(self.url))
        return self.browsers[-1]

    def signed_in(self, who: str, *, mfa: bool = False) -> Browser:
        browser = self.browser()
        answer = browser.sign_in(who, mfa=mfa)
        assert answer.status_code == 200, answer.text
        return browser

    def persona(self, who: str) -> httpx2.Client:
        """Somebody with a persona's token: as well known as by a sign-in, but with no browser."""
        token = self.house.keys.persona_token(who)[0]
        signed = {"Authorization": f"Bearer {token}"}
        return httpx2.Client(base_url=self.url, headers=signed, trust_env=False, timeout=15)

    def say(self, who: str, line: str) -> dict[str, Any]:
        """A line typed in the channel, and the answer."""
        body = {"text": line, "context": {"channel": CHANNEL, "channel_kind": "public"}}
        with self.persona(who) as http:
            answer = http.post("/v1/messages", json=body, headers={"Idempotency-Key": str(time.time_ns())})
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def audit(self, kind: str) -> list[AuditRecord]:
        """What was recorded of this kind, oldest first."""
        with self.persona("carol") as http:
            items = http.get("/v1/audit", params={"limit": 1000}).raise_for_status().json()["items"]
        return [r for r in map(AuditRecord.model_validate, items) if r.kind == kind]

    def rest(self) -> None:
        """Everybody leaves, and it is now again."""
        for browser in self.browsers:
            browser.close()
        self.browsers.clear()
        self.clock.ahead_s = 0


@contextmanager
def desk(folder: Path, opa_url: str = "http://127.0.0.1:9") -> Iterator[Desk]:
    """A gateway and a provider over a data folder of their own. Without `opa_url` no policy answers."""
    listener = listen(0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with identity_provider(folder, url) as provider:
        settings = Settings(
            profile="embedded",
            data_dir=folder,
            public_url=url,
            opa_url=opa_url,
            opa_deadline_ms=2000,
            rate_per_minute=100_000,
            directory_file=ROOT / "examples" / "acme" / "directory.yaml",
            worker_token=SecretStr("practice-worker-token-of-tests"),
            **provider.settings(),
        )
        house, clock = build(settings), Clock()
        house.gate.clock = clock
        config = uvicorn.Config(create_app(settings, house), log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            eventually(lambda: server.started, 15, "the gateway")
            yield Desk(url, house, clock, provider)
        finally:
            server.should_exit = True
            thread.join(15)
            listener.close()
