"""Where `opsgate login` keeps its token: the system's keyring if there is one, else a file only its owner reads."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError

from opsgate import tokens
from opsgate.errors import Mistake
from opsgate.tokens import Kept

HERE, THERE = "http://127.0.0.1:8420", "https://ops.acme.com"
GOOD = Kept("opt_" + "t" * 43, int(time.time()) + 3600)


class Ring(KeyringBackend):
    """A keyring as a desktop has one; `locked`: it refuses."""

    priority = 5

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.locked:
            raise RuntimeError("locked")
        self.held[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.held.pop((service, username), None) is None:
            raise PasswordDeleteError("not there")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the file is; without a keyring."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("OPSGATE_KEYRING", "off")
    return tmp_path / "opsgate" / "tokens.json"


@pytest.fixture
def ring(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ring]:
    monkeypatch.delenv("OPSGATE_KEYRING")
    before, made = keyring.get_keyring(), Ring()
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


def test_the_file_is_its_owners_alone(file: Path) -> None:
    """0600 in a folder of 0700; each gateway has its own."""
    assert tokens.keep(f"{HERE}/", GOOD) == str(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert tokens.find(HERE) == GOOD
    assert tokens.find(THERE) is None
    tokens.drop(HERE)
    assert tokens.find(HERE) is None
    assert GOOD.token not in file.read_text()


def test_a_token_that_is_over_is_none(file: Path) -> None:
    """One signs in again."""
    tokens.keep(HERE, Kept(GOOD.token, int(time.time()) - 1))
    assert tokens.find(HERE) is None


def test_what_is_not_ours_in_the_file_is_told_or_ignored(file: Path) -> None:
    """Others could read it, or it is broken: it says what to do. A strange entry is no token."""
    tokens.keep(HERE, GOOD)
    file.chmod(0o640)
    with pytest.raises(Mistake, match="Delete it"):
        tokens.find(HERE)
    file.chmod(0o600)
    file.write_text("{")
    with pytest.raises(Mistake, match="Delete it"):
        tokens.find(HERE)
    file.write_text(json.dumps({HERE: {"token": "x", "evil": 1}}))
    assert tokens.find(HERE) is None


def test_a_keyring_is_preferred_and_leaves_no_file(file: Path, ring: Ring) -> None:
    """Also what a file had before is gone."""
    file.parent.mkdir()
    file.touch(0o600)
    file.write_text(json.dumps({HERE: {"token": "old", "until": GOOD.until}}))
    assert tokens.keep(HERE, GOOD) == "the keyring"
    assert json.loads(file.read_text()) == {}
    assert tokens.find(HERE) == GOOD
    tokens.drop(HERE)
    assert (tokens.find(HERE), ring.held) == (None, {})


def test_a_keyring_that_refuses_is_no_keyring(file: Path, ring: Ring) -> None:
    """Locked, or broken in any way."""
    ring.locked = True
    assert tokens.keep(HERE, GOOD) == str(file)
    assert tokens.find(HERE) == GOOD
