"""Finds or gets the one policy engine: Open Policy Agent 1.22.2, never under 1.21.3.

Refuses a binary it cannot vouch for: a module sum or a SHA-256 pinned here (or given by a person) must match first.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

VERSION = "1.22.2"
OLDEST = (1, 21, 3)
"""Before it, the signature check of a bundle could be side-stepped."""
MODULE = f"github.com/open-policy-agent/opa@v{VERSION}"
MODULE_SUM = "h1:WzqReKk2VjcvBN/NQTlcIxKqFPKpzIdb6KYMHzPEbe0="
RELEASES = f"https://github.com/open-policy-agent/opa/releases/download/v{VERSION}"
RELEASE_SHA256: Mapping[str, str] = {}
"""Release asset: SHA-256 in hex. Add one only after checking it yourself; an asset without one is refused."""
DOWNLOAD_LIMIT = 200 * 2**20


class NoOpa(Exception):
    """There is no way to get OPA here; the text says what to do."""


class NotThisWay(Exception):
    """One way of getting OPA does not work here; the text says why."""


def cached_path(env: Mapping[str, str]) -> Path:
    home = env.get("OPSGATE_CACHE")
    cache = Path(home) if home else Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "opsgate"
    return cache / f"opa-{VERSION}" / "opa"


def version_of(binary: str | Path) -> tuple[int, ...] | None:
    """The version a binary says it has, or None when it is no OPA or does not run."""
    try:
        said = subprocess.run([str(binary), "version"], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"^Version: (\d+)\.(\d+)\.(\d+)", said, re.MULTILINE)
    return tuple(int(part) for part in match.groups()) if match else None


def supported(binary: str | Path | None) -> bool:
    version = version_of(binary) if binary else None
    return version is not None and version[0] == OLDEST[0] and version >= OLDEST


def release_asset() -> str:
    """The name of the release file for this machine, as the project names its files."""
    system = platform.system().lower()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return f"opa_{system}_{machine}" + ("" if (system, machine) == ("darwin", "amd64") else "_static")


def find(env: Mapping[str, str] = os.environ, hashes: Mapping[str, str] = RELEASE_SHA256) -> Path:
    """The OPA to run: on PATH, cached, built by Go, or downloaded, in that order. Raises NoOpa."""
    on_path = shutil.which("opa", path=env.get("PATH"))
    if on_path and supported(on_path):
        return Path(on_path)
    target = cached_path(env)
    if supported(target):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    said = [f"the opa on PATH ({on_path}) is older than 1.21.3"] if on_path else []
    for way in (_build, _download):
        try:
            with tempfile.TemporaryDirectory(dir=target.parent) as work:
                made = way(Path(work), env, hashes)
                if not supported(made):
                    raise NotThisWay("what it gave does not run as a supported OPA on this machine")
                made.replace(target)
            return target
        except NotThisWay as problem:
            said.append(f"{way.__name__.strip('_')}: {problem}")
    raise NoOpa(
        f"Opsgate needs Open Policy Agent {VERSION} and found no way to get it ({'; '.join(said)}). "
        "Put an opa 1.21.3 or newer on PATH, or install Go, then run this again."
    )


def _build(work: Path, env: Mapping[str, str], hashes: Mapping[str, str]) -> Path:
    """Build it from its Go module, whose sum must be the pinned one."""
    go = shutil.which("go", path=env.get("PATH"))
    if not go:
        raise NotThisWay("no go on PATH")
    print(f"Building OPA {VERSION} with Go (once; a minute or two) ...", file=sys.stderr, flush=True)
    build_env = {**env, "GOBIN": str(work), "CGO_ENABLED": "0"}
    listing = _go(go, build_env, work, "mod", "download", "-json", MODULE)
    got = json.loads(listing).get("Sum")
    if got != MODULE_SUM:
        raise NotThisWay(f"the module sum is {got}, pinned is {MODULE_SUM}")
    _go(go, build_env, work, "install", "-trimpath", MODULE)
    return work / "opa"


def _go(go: str, env: Mapping[str, str], work: Path, *arguments: str) -> str:
    done = subprocess.run([go, *arguments], cwd=work, env=dict(env), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or done.stdout.strip().splitlines() or ["no output"])[-1]
        raise NotThisWay(f"go {arguments[0]} failed: {last.strip()}")
    return done.stdout


def _download(work: Path, env: Mapping[str, str], hashes: Mapping[str, str]) -> Path:
    """Download the project's own release. OPSGATE_OPA_MIRROR replaces its address, never its hash."""
    asset = release_asset()
    pinned = env.get("OPSGATE_OPA_SHA256") or hashes.get(asset)
    if not pinned:
        raise NotThisWay(f"no SHA-256 is pinned for {asset}; check the published one and set OPSGATE_OPA_SHA256")
    base = env.get("OPSGATE_OPA_MIRROR") or RELEASES
    file, digest, size = work / "opa", hashlib.sha256(), 0
    print(f"Downloading OPA {VERSION} from {urlsplit(base).hostname} ...", file=sys.stderr, flush=True)
    try:
        with (
            httpx2.stream("GET", f"{base}/{asset}", follow_redirects=True, timeout=30) as answer,
            file.open("wb") as out,
        ):
            answer.raise_for_status()
            for chunk in answer.iter_bytes():
                size += len(chunk)
                if size > DOWNLOAD_LIMIT:
                    raise NotThisWay("it is larger than any OPA release")
                digest.update(chunk)
                out.write(chunk)
    except httpx2.HTTPError as problem:
        raise NotThisWay(f"{base}/{asset}: {problem}") from problem
    if digest.hexdigest() != pinned.lower():
        raise NotThisWay(f"its SHA-256 is {digest.hexdigest()}, pinned is {pinned}; it was thrown away")
    file.chmod(0o755)
    return file


def main() -> None:
    try:
        print(find())
    except NoOpa as problem:
        raise SystemExit(str(problem)) from None


if __name__ == "__main__":
    main()
