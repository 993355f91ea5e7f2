"""The servers that `make test` needs, found or installed; nothing but the standard library.

Refuses to start a long run that lacks one: it says the one line that installs them and stops.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess

NEEDED = {
    "redis-server": ("redis-server",),
    "postgresql": ("initdb",),
    "prometheus": ("prometheus",),
    "nodejs": ("node",),
    "npm": ("npm",),
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
}
"""Debian package: the programs of which one shows that it is there."""


def find_program(*names: str) -> str | None:
    """The path of the first program found. Debian keeps PostgreSQL's server programs off PATH; newest first."""
    for name in names:
        beside = sorted(
            glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), key=lambda p: int(p.split("/")[4]), reverse=True
        )
        found = shutil.which(name) or (beside[0] if beside else None)
        if found:
            return found
    return None


def missing() -> list[str]:
    return [package for package, programs in NEEDED.items() if not find_program(*programs)]


def install_line(packages: list[str]) -> str:
    return "apt-get update && apt-get install -y --no-install-recommends " + " ".join(packages)


def main() -> None:
    """Install what is missing when that is possible (root, with apt-get), otherwise stop with the line that does."""
    lacking = missing()
    if not lacking:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        line = install_line(lacking).replace("apt-get", "sudo apt-get")
        raise SystemExit(
            f"The tests need {', '.join(lacking)}. Install with: {line}   (or run make test-quick, which needs none)"
        )
    print(f"Installing {', '.join(lacking)} ...", flush=True)
    # RUNLEVEL=1 keeps the packages from starting servers of their own: the tests start private ones.
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    done = subprocess.run(["sh", "-c", install_line(lacking)], env=quiet, capture_output=True, text=True, check=False)
    if done.returncode != 0 or missing():
        raise SystemExit(
            f"{done.stdout[-2000:]}{done.stderr[-2000:]}\nCould not install {', '.join(missing() or lacking)}."
        )


if __name__ == "__main__":
    main()
