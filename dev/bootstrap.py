"""Makes `.venv` from `requirements.lock` with any python3 that is new enough; nothing but the standard library.

Refuses an unpinned or unhashed package. Written so that an old Python can still read it and say what is wrong.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
UV = "uv==0.13.9"
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "opsgate-setup.stamp"


def wanted_stamp(root: Path) -> str:
    """What a finished setup looks like: the lock, the project file and this script, as one SHA-256 in hex."""
    digest = hashlib.sha256()
    for name in ("requirements.lock", "pyproject.toml", "dev/bootstrap.py"):
        digest.update((root / name).read_bytes() + b"\0")
    return digest.hexdigest()


def run(*command: str) -> None:
    """Run a step quietly; on failure show what it said, and stop with one line that names it."""
    done = subprocess.run(command, cwd=str(ROOT), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        sys.stderr.write(done.stdout.decode("utf-8", "replace"))
        raise SystemExit(
            "Setup stopped at: {}\nThe lines above say why; then run make again.".format(" ".join(command))
        )


def works(python: Path) -> bool:
    """Whether a virtual environment is whole and new enough; a half-made one is made again."""
    probe = "import sys, pip; sys.exit(sys.version_info < {!r})".format(OLDEST)
    try:
        return subprocess.run([str(python), "-c", probe], stderr=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False


def main() -> None:
    """Idempotent: a finished setup costs one file read."""
    if sys.version_info[:2] < OLDEST:
        raise SystemExit(
            "Opsgate needs Python 3.11 or newer, and {} is {}.{}. "
            "Install one and name it: make dev PYTHON=python3.12".format(sys.executable, *sys.version_info[:2])
        )
    stamp = wanted_stamp(ROOT)
    if STAMP.exists() and STAMP.read_text() == stamp and os.access(str(PYTHON), os.X_OK):
        return
    print("Setting up .venv from requirements.lock (once; about a minute) ...", flush=True)
    if not works(PYTHON):
        run(sys.executable, "-m", "venv", "--clear", str(VENV))
    if not (VENV / "bin" / "uv").exists():
        run(str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV)
    # The certificates of the system: a company may have its own between here and the packages.
    uv = [str(VENV / "bin" / "uv"), "pip", "install", "--system-certs", "--quiet", "--python", str(PYTHON)]
    run(*uv, "--require-hashes", "--requirement", "requirements.lock")
    # The build backend comes from the lock too, so nothing unhashed is fetched for the `opsgate` command.
    run(*uv, "--no-deps", "--no-build-isolation", "--editable", ".")
    STAMP.write_text(stamp)


if __name__ == "__main__":
    main()
