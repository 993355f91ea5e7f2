"""Where a terminal keeps what `opsgate login` got: the system's keyring, else a file that only its owner reads.

Refuses to keep a token in a file that others could read, or to send it to another gateway than the one it is for.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from opsgate.errors import Mistake

NAME = "opsgate"


@dataclass(frozen=True)
class Kept:
    """A token and until when it is good (unix seconds)."""

    token: str
    until: int

    @property
    def good(self) -> bool:
        return time.time() < self.until


def keep(url: str, kept: Kept) -> str:
    """Keeps it for this gateway; says where, for a person."""
    text = json.dumps(asdict(kept))
    ring = _keyring()
    if ring is not None:
        with suppress(Exception):  # a keyring is somebody else's program, and may refuse in any way
            ring.set_password(NAME, _key(url), text)
            _drop_from_file(url)
            return "the keyring"
    path = _path()
    found = _read(path)
    _write(path, {**found, _key(url): asdict(kept)})
    return str(path)


def find(url: str) -> Kept | None:
    """What is kept for this gateway and still good."""
    ring, text = _keyring(), None
    if ring is not None:
        with suppress(Exception):
            text = ring.get_password(NAME, _key(url))
    found: Any = _read(_path()).get(_key(url))
    with suppress(ValueError, TypeError):
        kept = Kept(**(json.loads(text) if text else found))
        return kept if kept.good else None
    return None


def drop(url: str) -> None:
    """Forgets what is kept for this gateway."""
    ring = _keyring()
    if ring is not None:
        with suppress(Exception):
            ring.delete_password(NAME, _key(url))
    _drop_from_file(url)


def _key(url: str) -> str:
    return url.rstrip("/").lower()


def _keyring() -> Any:
    """The keyring library with something behind it that keeps secrets, or None."""
    if os.environ.get("OPSGATE_KEYRING") == "off":
        return None
    with suppress(Exception):
        import keyring
        from keyring.backends import fail, null

        backend = keyring.get_keyring()
        # One that would ask for a password, or that keeps plain text, is no better than our own file.
        if backend.priority >= 1 and not isinstance(backend, fail.Keyring | null.Keyring):
            return keyring
    return None


def _path() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "opsgate" / "tokens.json"


def _read(path: Path) -> dict[str, Any]:
    """Raises Mistake when others could read the file, for then they may have."""
    try:
        with path.open(encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise Mistake(f"Others can read {path}. Delete it and run `opsgate login` again.")
            found = json.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise Mistake(f"{path} cannot be read. Delete it and run `opsgate login` again.") from None
    return found if isinstance(found, dict) else {}


def _write(path: Path, found: dict[str, Any]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    half = path.with_name(f"{path.name}.{os.getpid()}.half")
    handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(found, file)
        half.replace(path)
    except BaseException:
        half.unlink(missing_ok=True)
        raise


def _drop_from_file(url: str) -> None:
    path = _path()
    with suppress(Mistake):
        found = _read(path)
        if found.pop(_key(url), None) is not None:
            _write(path, found)
