"""A gateway with wrong settings does not start, and says everything that is wrong with them in one go."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from dev.processes import free_port
from gateway import __main__ as program
from gateway.domain.errors import Refused
from gateway.infra.jwt import KeyRing, load_or_make_key
from gateway.infra.store import migrate
from gateway.main import create_app
from gateway.settings import Settings, explain
from gateway.wiring import CannotStart, build
from tests.rig.tokens import Issuer, write_private_key

SECRET = "a-token-that-must-not-be-shown"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the shell the tests run in."""
    for name in list(os.environ):
        if name.startswith("OPSGATE_"):
            monkeypatch.delenv(name)


def production(folder: Path, **changes: Any) -> dict[str, Any]:
    """What production needs, all of it right."""
    return {
        "profile": "production",
        "data_dir": folder,
        "database_url": f"postgresql+psycopg://gateway:{SECRET}@127.0.0.1:{free_port()}/opsgate",
        "redis_url": f"redis://:{SECRET}@127.0.0.1/0",
        "broker_url": f"redis://:{SECRET}@127.0.0.1/1",
        "worker_token": SECRET,
        "signing_key_file": write_private_key(folder / "key.pem"),
        "token_issuers_file": Issuer(folder).issuers_file,
        **changes,
    }


def wrong(**values: Any) -> dict[str, str]:
    """What is said about these settings, by variable."""
    with pytest.raises(ValidationError) as error:
        Settings(**values)
    first, *lines = explain(error.value).splitlines()
    assert first == "Opsgate cannot start, its settings are not right:"
    assert SECRET not in explain(error.value)
    said = [line.strip().partition(": ") for line in lines]
    assert len({name for name, _, _ in said}) == len(lines), "a line each, and only one about each"
    return {name: words for name, _, words in said}


def test_with_nothing_set_it_is_production_and_says_all_that_it_needs() -> None:
    """A gateway somebody forgot to configure must not come up as a practice room."""
    assert wrong() == {
        "OPSGATE_DATABASE_URL": "must be a postgresql+psycopg:// URL in the production profile",
        "OPSGATE_REDIS_URL": "must be a redis:// URL in the production profile",
        "OPSGATE_BROKER_URL": "must be a broker URL in the production profile",
        "OPSGATE_WORKER_TOKEN": "must be 24 characters or more in the production profile",
        "OPSGATE_SIGNING_KEY_FILE": "must be a PEM file with an EC P-256 key in the production profile",
        "OPSGATE_TOKEN_ISSUERS_FILE": "must be set (YAML), or OPSGATE_OIDC_ISSUER, in the production profile",
    }


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """Types, ranges, shapes and what production refuses, in one list."""
    said = wrong(
        **production(
            tmp_path,
            port="many",
            node="Gateway 1",
            tenant="ACME",
            zones="Europe/Berlin, Mars/Olympus",
            opa_url="127.0.0.1:8181",
            opa_deadline_ms=1,
            rate_per_minute=0,
            log_level="loud",
            worker_token="short",
        )
    )
    assert list(said) == [
        "OPSGATE_PORT",
        "OPSGATE_NODE",
        "OPSGATE_TENANT",
        "OPSGATE_ZONES",
        "OPSGATE_OPA_URL",
        "OPSGATE_OPA_DEADLINE_MS",
        "OPSGATE_WORKER_TOKEN",
        "OPSGATE_RATE_PER_MINUTE",
        "OPSGATE_LOG_LEVEL",
    ]
    assert "Mars/Olympus" in said["OPSGATE_ZONES"]
    assert "Europe/Berlin, " not in said["OPSGATE_ZONES"]


def test_a_misspelt_profile_is_held_to_production() -> None:
    """Otherwise its correction would only be followed by the next list."""
    said = wrong(profile="prodution")
    assert "OPSGATE_PROFILE" in said
    assert "OPSGATE_DATABASE_URL" in said


LAPTOP: dict[str, Any] = {
    "database_url": ["", "sqlite:///opsgate.db", "mysql://x"],
    "redis_url": ["fake://", "", "http://127.0.0.1"],
    "broker_url": ["memory://localhost", "memory://", ""],
    "worker_token": ["", "x" * 23],
    "signing_key_file": [None],
    "token_issuers_file": [None],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in LAPTOP.items() for v in values])
def test_production_refuses_each_part_of_the_practice_room(tmp_path: Path, name: str, value: Any) -> None:
    """One alone is enough."""
    assert list(wrong(**production(tmp_path, **{name: value}))) == [f"OPSGATE_{name.upper()}"]


def test_what_production_needs_is_enough(tmp_path: Path) -> None:
    """And no secret of it shows when it is printed."""
    settings = Settings(**production(tmp_path))
    shown = repr(settings.model_copy(update={"database_url": ""}))
    assert SECRET not in shown


def test_the_embedded_profile_needs_nothing(tmp_path: Path) -> None:
    """The database is in the data folder."""
    assert Settings(profile="embedded", data_dir=tmp_path).store_url == f"sqlite:///{tmp_path / 'opsgate.db'}"


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPSGATE_ and the name in capitals."""
    monkeypatch.setenv("OPSGATE_PROFILE", "embedded")
    monkeypatch.setenv("OPSGATE_PORT", "9000")
    assert Settings().port == 9000


def test_the_program_ends_with_the_list_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2; the words are on the standard error."""
    monkeypatch.setenv("OPSGATE_WORKER_TOKEN", SECRET)
    monkeypatch.setenv("OPSGATE_PORT", "no")
    assert program.main([]) == 2
    told = capsys.readouterr().err
    assert "OPSGATE_PORT: " in told
    assert "OPSGATE_DATABASE_URL: " in told
    assert SECRET not in told
    assert "Traceback" not in told


# ---- what production is not ----------------------------------------------------------------------------------------


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the database were there with the right schema; nothing of these tests asks it."""
    monkeypatch.setattr(migrate, "is_current", lambda url: True)


async def test_production_has_no_personas(tmp_path: Path, reachable: None) -> None:
    """Not on a route, not as a token: not even one signed with the gateway's own key."""
    settings = Settings(**production(tmp_path))
    house = build(settings)
    try:
        paths = create_app(settings, house).openapi()["paths"]
        assert [path for path in paths if path.startswith("/v1/dev")] == []
        token, _ = house.keys.persona_token("alice")
        with pytest.raises(Refused) as refused:
            await house.tokens.verify(token)
        assert refused.value.status == 401
    finally:
        await house.close()


async def test_the_embedded_profile_has_personas(tmp_path: Path) -> None:
    """The rest of this page would prove nothing if it had not."""
    settings = Settings(profile="embedded", data_dir=tmp_path)
    house = build(settings)
    try:
        assert "/v1/dev/personas" in create_app(settings, house).openapi()["paths"]
        token, _ = house.keys.persona_token("alice")
        assert (await house.tokens.verify(token)).subject == "alice"
    finally:
        await house.close()


def test_personas_cannot_be_let_in_by_the_list_of_issuers(tmp_path: Path, reachable: None) -> None:
    """An issuers file that names the practice room's issuer is refused, whatever keys it brings."""
    settings = Settings(**production(tmp_path))
    Issuer(tmp_path, name="opsgate-personas")  # in place of the right one
    with pytest.raises(CannotStart, match="opsgate-personas"):
        build(settings)


def test_production_makes_no_key_of_its_own(tmp_path: Path, reachable: None) -> None:
    """Two gateways with a key each would refuse each other's tickets; a key that is not there is said."""
    missing = tmp_path / "missing.pem"
    with pytest.raises(CannotStart, match=r"signing key cannot be used.*missing\.pem"):
        build(Settings(**production(tmp_path, signing_key_file=missing)))
    assert not missing.exists()


@pytest.mark.parametrize("content", ["", "no key at all", "P-384"])
def test_a_signing_key_of_another_kind_is_refused(tmp_path: Path, reachable: None, content: str) -> None:
    """With the line that makes a right one where it is a key at all."""
    path = tmp_path / "other.pem"
    path.write_text(content)
    if content == "P-384":
        path.write_bytes(
            ec.generate_private_key(ec.SECP384R1()).private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    with pytest.raises(CannotStart, match="signing key cannot be used"):
        build(Settings(**production(tmp_path, signing_key_file=path)))


ISSUERS = {
    "not YAML": "issuers: [",
    "empty": "",
    "no issuers": "issuers: []",
    "a shared secret": "issuers: [{issuer: x, algorithms: [HS256], jwks_file: jwks.json}]",
    "no algorithm": "issuers: [{issuer: x, algorithms: [], jwks_file: jwks.json}]",
    "alg none": "issuers: [{issuer: x, algorithms: [none], jwks_file: jwks.json}]",
    "keys that are not there": "issuers: [{issuer: x, algorithms: [ES256], jwks_file: nowhere.json}]",
    "a list": "[]",
}


@pytest.mark.parametrize("name", ISSUERS)
def test_an_issuers_file_that_proves_nobody_is_refused(tmp_path: Path, reachable: None, name: str) -> None:
    """It names the file and says what must be in it."""
    path = tmp_path / "broken.yaml"
    path.write_text(ISSUERS[name])
    with pytest.raises(CannotStart, match=r"broken\.yaml.*It must hold `issuers`"):
        build(Settings(**production(tmp_path, token_issuers_file=path)))


def test_an_audit_log_that_cannot_be_opened_is_said_at_the_start(tmp_path: Path, reachable: None) -> None:
    """Not at the first command."""
    with pytest.raises(CannotStart, match=r"OPSGATE_AUDIT_LOG .* cannot be opened"):
        build(Settings(**production(tmp_path, audit_log=str(tmp_path / "nowhere" / "audit.jsonl"))))


def test_a_database_that_is_gone_or_of_another_version_is_said_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In words, without its password."""
    with pytest.raises(CannotStart, match="Check OPSGATE_DATABASE_URL") as gone:
        build(Settings(**production(tmp_path)))
    assert SECRET not in str(gone.value)
    monkeypatch.setattr(migrate, "is_current", lambda url: False)
    with pytest.raises(CannotStart, match="python -m gateway migrate"):
        build(Settings(**production(tmp_path)))


def test_the_key_of_a_laptop_is_not_that_of_production(tmp_path: Path) -> None:
    """A ticket or persona token from a laptop is worth nothing elsewhere."""
    laptop = KeyRing(load_or_make_key(tmp_path / "laptop.pem", make=True), "gateway-1")
    real = KeyRing(load_or_make_key(write_private_key(tmp_path / "real.pem"), make=False), "gateway-1")
    now = time.time_ns()
    assert not real.check(laptop.issue("inv_0123456789", "sha256:a", now), "inv_0123456789", "sha256:a")
