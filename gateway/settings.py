"""Every setting of the gateway, typed; all problems are reported at once. Read from OPSGATE_* variables."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parent.parent


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _scheme(url: SecretStr) -> str:
    return urlsplit(url.get_secret_value()).scheme


_IN_PRODUCTION: dict[str, tuple[Callable[[Any], bool], str]] = {
    "database_url": (lambda url: url.startswith("postgresql"), "a postgresql+psycopg:// URL"),
    "redis_url": (lambda url: _scheme(url) in ("redis", "rediss", "unix"), "a redis:// URL"),
    "broker_url": (lambda url: _scheme(url) in ("redis", "rediss", "amqp", "amqps"), "a broker URL"),
    "worker_token": (lambda token: len(token.get_secret_value()) >= 24, "24 characters or more"),
    "signing_key_file": (lambda path: path is not None, "a PEM file with an EC P-256 key"),
    "token_issuers_file": (lambda path: path is not None, "set (YAML), or OPSGATE_OIDC_ISSUER,"),
}
"""What production refuses to start without, by field."""


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
    tickets_file: Path | None = Field(default=None, description="change tickets and their states (YAML); see docs")
    signing_key_file: Path | None = Field(default=None, description="EC P-256 key (PEM) that signs job tickets")
    oidc_issuer: str = Field(default="", description="the OpenID provider people sign in at; empty: nobody signs in")
    oidc_client_id: str = Field(default="", description="what the provider knows this gateway as")
    oidc_client_secret: SecretStr = Field(
        default=SecretStr(""), description="what the gateway proves itself with there"
    )
    oidc_scopes: str = Field(default="openid profile", description="what is asked of the provider, with `openid`")
    oidc_groups_claim: str = Field(default="groups", description="the claim that lists somebody's groups")
    oidc_mfa: str = Field(default="mfa", description="comma-separated acr and amr values that mean a second factor")
    oidc_acr_values: str = Field(default="", description="what a step-up asks the provider for (acr_values)")
    token_issuers_file: Path | None = Field(default=None, description="whose tokens are accepted (YAML)")
    worker_token: SecretStr = Field(default=SecretStr(""), description="what workers authenticate with")
    slack_signing_secret: SecretStr = Field(default=SecretStr(""), description="verifies Slack's signed requests")
    audit_log: str = Field(default="", description="second place for audit records: stdout, a file, or empty")
    rate_per_minute: int = Field(default=120, ge=1, description="commands one person may ask for in a minute")
    otlp_endpoint: str = Field(default="", description="where traces go (OTLP over HTTP); empty: nowhere")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="least level logged")

    # Field by field, so that a wrong port does not hide what else is wrong.
    @field_validator(*_IN_PRODUCTION)
    @classmethod
    def _fits_its_profile(cls, value: Any, info: ValidationInfo) -> Any:
        fits, what = _IN_PRODUCTION[str(info.field_name)]
        if info.field_name == "token_issuers_file" and info.data.get("oidc_issuer"):
            return value  # people come by signing in
        # A profile that is misspelt is held to production's rules, so that everything is told at once.
        if info.data.get("profile") != "embedded" and not fits(value):
            raise ValueError(f"must be {what} in the production profile")
        return value

    @field_validator("opa_url")
    @classmethod
    def _is_a_url(cls, value: str) -> str:
        if urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname:
            raise ValueError("must be an http:// or https:// URL")
        return value

    @field_validator("oidc_issuer", "public_url")
    @classmethod
    def _is_encrypted(cls, value: str, info: ValidationInfo) -> str:
        """Sign-in sends people and their cookies there."""
        if not value and info.field_name == "oidc_issuer":
            return value
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be an https:// URL without a query")
        lenient = info.field_name == "public_url" and info.data.get("profile") != "production"
        if parts.scheme == "http" and not (lenient or _is_loopback(parts.hostname)):
            raise ValueError("must be an https:// URL (http:// only on this machine)")
        return value

    @field_validator("oidc_client_id", "oidc_client_secret")
    @classmethod
    def _is_known_there(cls, value: Any, info: ValidationInfo) -> Any:
        text = value if isinstance(value, str) else value.get_secret_value()
        if info.data.get("oidc_issuer") and not text:
            raise ValueError("must be set together with OPSGATE_OIDC_ISSUER, as the provider gave it")
        return value

    @field_validator("oidc_scopes")
    @classmethod
    def _asks_who(cls, value: str) -> str:
        if "openid" not in value.split():
            raise ValueError("must hold `openid`, such as: openid profile groups")
        return value

    @field_validator("zones")
    @classmethod
    def _are_zones(cls, value: str) -> str:
        unknown = [z.strip() for z in value.split(",") if z.strip() and z.strip() not in available_timezones()]
        if unknown:
            raise ValueError(f"must be IANA time zones such as Europe/Berlin; not known: {', '.join(unknown)}")
        return value

    @property
    def store_url(self) -> str:
        return self.database_url or f"sqlite:///{self.data_dir / 'opsgate.db'}"


def explain(error: ValidationError) -> str:
    """All problems of the settings, a line each, with what to do."""
    lines = []
    for problem in error.errors():
        name = "OPSGATE_" + str(problem["loc"][0]).upper() + ": " if problem["loc"] else ""
        lines.append(f"  {name}{problem['msg'].removeprefix('Value error, ')}")
    return "Opsgate cannot start, its settings are not right:\n" + "\n".join(lines)
