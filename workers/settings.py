"""Every setting of a worker, from the environment (prefix OPSGATE_), typed, all problems reported at once."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

EXAMPLE_QUERIES = Path(__file__).resolve().parents[1] / "examples" / "acme" / "queries.yaml"


class WorkerSettings(BaseSettings):
    """Environment variables are the upper-case names with OPSGATE_ before them."""

    model_config = SettingsConfigDict(env_prefix="OPSGATE_", frozen=True)

    gateway_url: str = Field(description="Where the gateway's worker API is, e.g. https://gateway.internal:8420")
    worker_token: SecretStr = Field(description="The token that the gateway expects of its workers")
    broker_url: str = Field(description="The same broker as the gateway's: redis://, amqp:// or memory://")
    worker_name: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}",
        max_length=128,
        description="Names this process in leases and logs; unique among workers",
    )
    connectors: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("sandbox",), description="Which connectors this worker offers, as a comma-separated list"
    )
    sandbox_url: str = Field(default="", description="Where the practice fleet is; needed by the sandbox connector")
    prometheus_url: str = Field(default="", description="Where Prometheus is; needed by the prometheus connector")
    prometheus_queries_file: Path = Field(
        default=EXAMPLE_QUERIES, description="YAML file of the named queries that people may ask"
    )
    otlp_endpoint: str = Field(default="", description="OTLP/HTTP collector for traces; empty sends none")
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR")
    worker_threads: int = Field(default=4, ge=1, le=64, description="How many Jobs this worker looks at side by side")
    announce_every_s: float = Field(
        default=5, gt=0, le=60, description="How often the gateway is told what this worker offers, in seconds"
    )

    @field_validator("connectors", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @field_validator("log_level")
    @classmethod
    def _level(cls, value: str) -> str:
        if value.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
        return value.upper()

    def environment(self) -> Mapping[str, str]:
        """What connectors read their settings from: the process environment, under what was set here."""
        return {
            **os.environ,
            "OPSGATE_SANDBOX_URL": self.sandbox_url,
            "OPSGATE_PROMETHEUS_URL": self.prometheus_url,
            "OPSGATE_PROMETHEUS_QUERIES_FILE": str(self.prometheus_queries_file),
        }
