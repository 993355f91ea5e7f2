"""Feeds a real OPA from a folder of Rego: builds a bundle with a revision, and reloads it when the folder changes.

Refuses to put a broken policy in force: the old one stays live and the status file says what is wrong and where.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx2

from dev.opa import find
from dev.processes import Child, ChildFailed, answers, free_port

SERVED = ("*.rego", "data.json", "data.yaml", "data.yml", ".manifest")
"""What a bundle carries. Tests are not served, so a change in one changes no revision."""
LOOK_EVERY_S = 0.5
RESTART_AFTER_S = 1.5


class BrokenPolicy(Exception):
    """The policies do not compile; the text is `file:line: what is wrong`, one a line."""


def snapshot(policies: Path) -> dict[str, bytes]:
    """The served files as they are now, by path inside the folder. A file that vanishes meanwhile is left out."""
    found: dict[str, bytes] = {}
    for pattern in SERVED:
        for file in policies.rglob(pattern):
            if not file.name.endswith("_test.rego") and file.is_file():
                with suppress(FileNotFoundError):
                    found[file.relative_to(policies).as_posix()] = file.read_bytes()
    return found


def revision_of(files: dict[str, bytes]) -> str:
    """Twelve hex digits that name exactly these contents."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
    return digest.hexdigest()[:12]


def build(opa: Path, files: dict[str, bytes], bundle: Path) -> str:
    """Check and build exactly these files; replaces `bundle` in one step, gives the revision. Raises BrokenPolicy."""
    revision = revision_of(files)
    with tempfile.TemporaryDirectory(dir=bundle.parent) as work:
        for name, content in files.items():
            file = Path(work, "policies", name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        Path(work, "policies").mkdir(exist_ok=True)
        _opa(opa, work, "check", "--strict", "--format", "json", "--bundle", "policies")
        _opa(opa, work, "build", "--revision", revision, "--output", "bundle.tar.gz", "--bundle", "policies")
        Path(work, "bundle.tar.gz").replace(bundle)
    return revision


def _opa(opa: Path, work: str, *arguments: str) -> None:
    done = subprocess.run([opa, *arguments], cwd=work, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    said = done.stderr or done.stdout
    try:
        errors = json.loads(said)["errors"]
    except (ValueError, KeyError, TypeError):
        raise BrokenPolicy(said.strip()) from None
    raise BrokenPolicy("\n".join(_sentence(error) for error in errors))


def _sentence(error: dict[str, object]) -> str:
    match error:
        case {"message": message, "location": {"file": file, "row": row}}:
            return f"{file}:{row}: {message}"
        case _:
            return str(error.get("message", error))


class OpaServer:
    """One OPA on a private loopback port, fed from `policies`, watched and started again when it dies.

    `status_file` holds {"revision", "loaded_at", "error"}: the revision OPA answers with, and "" or what is wrong.
    """

    def __init__(self, policies: Path, data: Path, opa: Path | None = None, port: int | None = None) -> None:
        """`data`: a folder for the bundle, the status file and OPA's log."""
        self.opa = opa or find()
        self.policies, self.data = policies, data
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.bundle, self.status_file = data / "bundle.tar.gz", data / "policy-status.json"
        self.revision, self.error, self._tried, self._loaded_at = "", "", "", ""
        self._ended = threading.Event()
        self._watching = threading.Thread(target=self._watch, name="policies", daemon=True)

    def start(self) -> OpaServer:
        """Build, start and wait until OPA answers with the policy. Raises BrokenPolicy or ChildFailed."""
        self.data.mkdir(parents=True, exist_ok=True)
        self._took(build(self.opa, snapshot(self.policies), self.bundle))
        self.child = self._spawn()
        self._watching.start()
        return self

    def stop(self) -> None:
        self._ended.set()
        if self._watching.is_alive():
            self._watching.join()
        self.child.stop()

    def live_revision(self) -> str:
        """The revision OPA itself says it decides by, or "" when it does not answer."""
        try:
            answer = httpx2.get(f"{self.url}/v1/data/none?provenance=true", timeout=2, trust_env=False).json()
        except (httpx2.HTTPError, ValueError):
            return ""
        bundles = answer.get("provenance", {}).get("bundles", {})
        return next((str(bundle.get("revision", "")) for bundle in bundles.values()), "")

    def reload(self) -> None:
        """Put the folder's policy in force, or keep the old one and say why not. Does nothing twice."""
        files = snapshot(self.policies)
        wanted = revision_of(files)
        if wanted == self._tried:
            return
        self._tried = wanted
        try:
            if wanted != self.revision:
                build(self.opa, files, self.bundle)
                self._await(wanted)
            self._took(wanted)
        except BrokenPolicy as broken:
            self._complain(str(broken))
        except ChildFailed as failure:
            self._complain(str(failure))
            self._tried = ""  # the policy is fine; try again at the next look

    def _await(self, revision: str) -> None:
        deadline = time.monotonic() + 5
        while self.live_revision() != revision:
            if time.monotonic() > deadline:
                raise ChildFailed(f"OPA did not take revision {revision} within 5 s: {self.child.tail(1)}")
            time.sleep(0.05)

    def _took(self, revision: str) -> None:
        self.revision, self._tried, self.error = revision, revision, ""
        self._loaded_at = datetime.now(UTC).isoformat()
        self._write_status()

    def _complain(self, error: str) -> None:
        self.error = error
        self._write_status()

    def _write_status(self) -> None:
        status = {"revision": self.revision, "loaded_at": self._loaded_at, "error": self.error}
        half = self.status_file.with_suffix(".half")
        half.write_text(json.dumps(status))
        half.replace(self.status_file)

    def _spawn(self) -> Child:
        command: list[object] = [self.opa, "run", "--server", "--addr", f"127.0.0.1:{self.port}"]
        command += ["--log-level", "error", "--skip-version-check", "--shutdown-grace-period", "1"]
        # OPA watches the bundle's folder, so the atomic replace in `build` is what makes it load the new one.
        command += ["--bundle", "--watch", self.bundle]
        child = Child("OPA", command, self.data / "opa.log", env={**os.environ, "GOGC": "400"})
        return child.wait_ready(lambda: answers(f"{self.url}/health?bundles"))

    def _revive(self) -> None:
        try:
            self.child = self._spawn()
        except ChildFailed as failure:
            self._complain(str(failure))
        self._tried = ""  # it read whatever bundle was last built: look at the folder again

    def _watch(self) -> None:
        """Looks at contents, not at times or events: no edit can slip through, and nothing is built twice."""
        while not self._ended.wait(LOOK_EVERY_S):
            self.reload()
            if not self.child.running and not self._ended.wait(RESTART_AFTER_S):
                self._revive()


def main() -> None:
    """Build one bundle, for an image: `python -m dev.policies --policies policies --out bundle.tar.gz`."""
    parser = argparse.ArgumentParser(prog="python -m dev.policies", description="Check policies and build a bundle.")
    parser.add_argument("--policies", type=Path, default=Path("policies"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    try:
        print(build(find(), snapshot(options.policies), options.out.resolve()))
    except BrokenPolicy as broken:
        raise SystemExit(str(broken)) from None


if __name__ == "__main__":
    main()
