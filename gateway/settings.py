"""Every setting of the gateway, typed; all problems are reported at once. Read from OPSGATE_* variables."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """`embedded` is for a laptop: SQLite, no Redis server, no broker, personas. `production` refuses all of these."""

    model_config = SettingsConfigDict(env_prefix="OPSGATE_", extra="ignore", frozen=True)

    profile: Literal["embedded", "production"] = Field(default="production", description="embedded or production")
    data_dir: Path = Field(default=Path(".opsgate"), description="embedded: where the database and keys are kept")
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8420, ge=0, le=65535, description="port to listen on")
    public_url: str = Field(default="http://127.0.0.1:8420", description="how people reach this gateway")
    node: str = Field(
        default="gateway-1",
        pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$",
        description="name of this process, unique among the gateways; it names this process's audit chain",
    )
    tenant: str = Field(default="acme", pattern=r"^[a-z0-9-]{1,63}$", description="the company")
    zones: str = Field(default="UTC", description="comma-separated time zones whose local time the policy gets")
    database_url: str = Field(default="", description="postgresql+psycopg://…; empty in embedded: SQLite in data_dir")
    database_role: str = Field(default="", description="PostgreSQL user of the gateway, given its rights by `migrate`")
    redis_url: SecretStr = Field(
        default=SecretStr("fake://"), description="redis://… or rediss://…; fake:// in embedded"
    )
    broker_url: SecretStr = Field(
        default=SecretStr("memory://localhost"), description="Celery broker; memory:// in embedded"
    )
    opa_url: str = Field(default="http://127.0.0.1:8181", description="the Open Policy Agent")
    opa_deadline_ms: int = Field(default=250, ge=10, le=5000, description="milliseconds a decision may take")
    policy_status_file: Path | None = Field(default=None, description="written by what feeds the policies to OPA")
    commands_dir: Path = Field(default=ROOT / "commands", description="folder of the command files")
    directory_file: Path = Field(
        default=ROOT / "examples" / "acme" / "directory.yaml", description="people, adapters and services"
    )
    signing_key_file: Path | None = Field(default=None, description="EC P-256 key (PEM) that signs job tickets")
    token_issuers_file: Path | None = Field(default=None, description="whose tokens are accepted (YAML)")
    worker_token: SecretStr = Field(default=SecretStr(""), description="what workers authenticate with")
    slack_signing_secret: SecretStr = Field(default=SecretStr(""), description="verifies Slack's signed requests")
    audit_log: str = Field(default="", description="second place for audit records: stdout, a file, or empty")
    rate_per_minute: int = Field(default=120, ge=1, description="commands one person may ask for in a minute")
    otlp_endpoint: str = Field(default="", description="where traces go (OTLP over HTTP); empty: nowhere")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="least level logged")

    @model_validator(mode="after")
    def _fits_its_profile(self) -> Settings:
        problems = []
        if self.profile == "production":
            wanted = {
                "OPSGATE_DATABASE_URL": (self.database_url.startswith("postgresql"), "a postgresql+psycopg:// URL"),
                "OPSGATE_REDIS_URL": (_scheme(self.redis_url) in ("redis", "rediss", "unix"), "a redis:// URL"),
                "OPSGATE_BROKER_URL": (
                    _scheme(self.broker_url) in ("redis", "rediss", "amqp", "amqps"),
                    "a broker URL",
                ),
                "OPSGATE_WORKER_TOKEN": (len(self.worker_token.get_secret_value()) >= 24, "24 characters or more"),
                "OPSGATE_SIGNING_KEY_FILE": (self.signing_key_file is not None, "a PEM file with an EC P-256 key"),
                "OPSGATE_TOKEN_ISSUERS_FILE": (self.token_issuers_file is not None, "a YAML file of token issuers"),
            }
            problems = [
                f"{name} must be {what} in the production profile" for name, (ok, what) in wanted.items() if not ok
            ]
        if urlsplit(self.opa_url).scheme not in ("http", "https") or not urlsplit(self.opa_url).hostname:
            problems.append("OPSGATE_OPA_URL must be an http:// or https:// URL")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def store_url(self) -> str:
        return self.database_url or f"sqlite:///{self.data_dir / 'opsgate.db'}"


def _scheme(url: SecretStr) -> str:
    return urlsplit(url.get_secret_value()).scheme


def explain(error: ValidationError) -> str:
    """All problems of the settings, a line each, with what to do."""
    lines = []
    for problem in error.errors():
        name = "OPSGATE_" + str(problem["loc"][0]).upper() + ": " if problem["loc"] else ""
        lines += [f"  {name}{part}" for part in problem["msg"].removeprefix("Value error, ").split("; ")]
    return "Opsgate cannot start, its settings are not right:\n" + "\n".join(lines)
