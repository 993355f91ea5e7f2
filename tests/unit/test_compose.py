"""docker-compose.yml and the Dockerfile, checked as far as that goes without an engine."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic_settings import BaseSettings

from adapters.slack.settings import SlackSettings
from gateway.settings import Settings
from workers.settings import WorkerSettings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
ONE_SHOT = {"migrate", "roles"}
REQUIRED, OPTIONAL = re.compile(r"\$\{(\w+):\?([^}]+)\}"), re.compile(r"\$\{(\w+):-([^}]*)\}")

SETTINGS: dict[str, type[BaseSettings]] = {
    "gateway": Settings,
    "migrate": Settings,
    "worker": WorkerSettings,
    "slack": SlackSettings,
}


def variables(model: type[BaseSettings]) -> dict[str, bool]:
    """The environment variables a process reads: name, and whether it refuses to start without."""
    prefix = str(model.model_config.get("env_prefix", ""))
    return {
        str(field.validation_alias or f"{prefix}{name}").upper(): field.is_required()
        for name, field in model.model_fields.items()
    }


def passed(service: str) -> dict[str, str]:
    return {name: str(value) for name, value in SERVICES[service].get("environment", {}).items()}


def filled(value: str) -> str:
    """A value as it is once somebody has set what is required: an address where one is asked for."""
    given = REQUIRED.sub(lambda m: "https://opsgate.example.com" if "https://" in m[0] else "x" * 32, value)
    return OPTIONAL.sub(r"\2", given)


def test_it_is_a_compose_file() -> None:
    """By the schema of the Compose Specification."""
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        "docker-compose.yml",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("service", SETTINGS)
def test_every_setting_it_passes_exists(service: str) -> None:
    """A misspelt variable would be ignored in silence."""
    assert set(passed(service)) <= set(variables(SETTINGS[service]))


@pytest.mark.parametrize("service", sorted(set(SETTINGS) - ONE_SHOT))
def test_every_setting_without_a_default_is_passed(service: str) -> None:
    """So that the containers start."""
    needed = {name for name, required in variables(SETTINGS[service]).items() if required}
    assert needed <= set(passed(service))


def test_the_gateway_accepts_what_is_passed_as_a_production_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules that hold between settings too, with every required variable set."""
    for name, value in passed("gateway").items():
        monkeypatch.setenv(name, filled(value))
    settings = Settings()
    assert settings.profile == "production"
    assert settings.worker_token.get_secret_value() == "x" * 32


def test_no_secret_has_a_default() -> None:
    """A password is a required variable wherever it is named, and none is written in the file."""
    for service in SERVICES:
        for name, value in passed(service).items():
            if re.search(r"PASSWORD|WORKER_TOKEN|DATABASE_URL|BROKER_URL|REDIS_URL", name):
                assert REQUIRED.search(value), f"{service}: {name}"


@pytest.mark.parametrize("service", SERVICES)
def test_every_container_is_locked_down(service: str) -> None:
    """Read-only, no capabilities, no way to gain any, and not root."""
    told = SERVICES[service]
    assert told["read_only"] is True
    assert told["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in told["security_opt"]
    assert "cap_add" not in told
    if "build" in told:
        assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", stage(told["build"]["target"]), re.MULTILINE)
    else:
        assert told["user"] not in ("root", "0")
        assert ":" in told["image"]
        assert not told["image"].endswith(":latest")


@pytest.mark.parametrize("service", sorted(set(SERVICES) - ONE_SHOT))
def test_every_server_says_whether_it_is_healthy(service: str) -> None:
    """What depends on it waits for that."""
    assert SERVICES[service]["healthcheck"]["test"][0] == "CMD"


def test_nobody_reaches_the_stores_from_outside() -> None:
    """Only the doors have ports, on the loopback address unless somebody says otherwise."""
    for name, told in SERVICES.items():
        assert all(port.startswith("${OPSGATE_BIND:-127.0.0.1}:") for port in told.get("ports", []))
        assert not told.get("ports") or name in ("gateway", "slack")
    assert COMPOSE["networks"]["back"]["internal"] is True
    for store in ("redis", "postgres", "opa", "openbao"):
        assert SERVICES[store]["networks"] == ["back"]


def test_redis_keeps_what_it_was_given() -> None:
    """An append-only file, and no eviction: an evicted key would be a lost wake-up."""
    command = " ".join(SERVICES["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def stage(name: str) -> str:
    """The lines of one image in the Dockerfile."""
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    (found,) = [text for text in stages if re.match(rf"\S+ AS {re.escape(name)}\n", text)]
    return found


def test_the_images_copy_only_what_exists_and_is_let_in() -> None:
    """A folder that .dockerignore keeps out would stop the build."""
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for source in line.split():
            assert (ROOT / source).exists(), source
            assert source in let_in


def test_an_image_carries_no_other_part() -> None:
    """The worker has no gateway code, the gateway no connector, the Slack adapter neither."""
    code = {name: set(re.findall(r"^COPY (\w+) \./\w+$", stage(name), re.MULTILINE)) for name in ("gateway", "worker")}
    assert code["gateway"] == {"opsgate", "gateway", "commands"}
    assert code["worker"] == {"opsgate", "workers"}
    assert set(re.findall(r"^COPY (\w+) \./\w+$", stage("slack"), re.MULTILINE)) == {"opsgate", "adapters"}


def declared(extra: str) -> set[str]:
    """The distributions that the dependencies of one image bring, by what each installed one says it requires."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    waiting = [Requirement(text) for text in (*project["dependencies"], *project["optional-dependencies"][extra])]
    found: set[tuple[str, str]] = set()
    while waiting:
        wanted = waiting.pop()
        for chosen in {"", *wanted.extras}:
            key = (canonicalize_name(wanted.name), chosen)
            if key not in found:
                found.add(key)
                with suppress(PackageNotFoundError):  # an optional part for another platform
                    children = map(Requirement, requires(wanted.name) or [])
                    waiting += [c for c in children if c.marker is None or c.marker.evaluate({"extra": chosen})]
    return {name for name, _ in found}


@pytest.mark.parametrize(
    ("folder", "extra"),
    [("gateway", "gateway"), ("workers", "workers"), ("adapters/slack", "slack"), ("sandbox", "sandbox")],
)
def test_every_image_gets_what_its_code_imports(folder: str, extra: str) -> None:
    """Here everything is installed; in an image only what the extra of pyproject.toml names."""
    owners, brought = packages_distributions(), declared(extra)
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for top in {name.split(".")[0] for name in names} - sys.stdlib_module_names:
                if not (ROOT / top).is_dir():
                    assert brought & {canonicalize_name(owner) for owner in owners[top]}, f"{file}: {top}"
