"""`make dev OIDC=1` starts an identity provider to practise with; and its packages are exactly those of the lock."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dev.embedded import ROOT
from dev.identity import HERE, installed
from dev.processes import Child, clean_environment
from tests.rig.oidc import Browser

pytestmark = pytest.mark.slow


def test_make_dev_with_oidc_has_somewhere_to_sign_in(tmp_path: Path) -> None:
    """The ready lines say where; Alice signs in there and asks for her first command."""
    ready, log = tmp_path / "ready.json", tmp_path / "dev.log"
    command = [sys.executable, "-m", "dev", "--oidc", "--port", "0", "--data", tmp_path / "data", "--ready-file", ready]
    house = Child("the embedded profile", command, log, env=clean_environment(), cwd=ROOT)
    try:
        house.wait_ready(ready.exists, 60)
        url = json.loads(ready.read_text())["url"]
        assert f"{url}/login" in log.read_text()
        browser = Browser(url)
        browser.sign_in("alice")
        csrf = browser.session()["csrf"]
        body = {"text": "deploy staging api-service"}
        answer = browser.api("POST", "/v1/messages", csrf, json=body, headers={"Idempotency-Key": "first"})
        assert answer.json()["invocation"]["requested_by"]["id"] == "alice"
        assert answer.json()["invocation"]["state"] in ("queued", "running")
        browser.close()
    finally:
        house.stop()


def test_the_makefile_passes_the_wish_on() -> None:
    """`OIDC=1` and nothing else."""
    for wish, wanted in (("OIDC=1", True), ("OIDC=", False)):
        done = subprocess.run(["make", "-n", "dev", wish], cwd=ROOT, capture_output=True, text=True, check=True)
        assert ("--oidc" in done.stdout) is wanted


def test_the_lock_has_hashes_and_no_addresses_of_packages() -> None:
    """It says what, never from where; and what it says was installed."""
    lock = json.loads((HERE / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages
    assert all(entry["integrity"].startswith("sha512-") and "resolved" not in entry for entry in packages.values())
    assert (installed() / "node_modules" / "oidc-provider" / "package.json").exists()
