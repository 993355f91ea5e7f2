"""The Slack adapter's settings, typed; every problem is told at once. Refuses to start with a half of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$")]
FolderUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#@]+/([^\s?#]*/)?$")]
"""Ends in a slash, so that as a prefix it holds the whole host name."""


class SlackSettings(BaseSettings):
    """From the environment. Secrets never show in a repr or a log."""

    model_config = SettingsConfigDict(extra="ignore", populate_by_name=True)

    signing_secret: SecretStr = Field(
        validation_alias="SLACK_SIGNING_SECRET",
        min_length=8,
        description="the app's Signing Secret (api.slack.com/apps, Basic Information)",
    )
    bot_token: SecretStr = Field(
        validation_alias="SLACK_BOT_TOKEN",
        min_length=8,
        description="the Bot User OAuth Token, xoxb-… (api.slack.com/apps, OAuth & Permissions)",
    )
    gateway_url: Url = Field(
        validation_alias="OPSGATE_GATEWAY_URL", description="where the gateway answers, as http://gateway:8420"
    )
    adapter_token: SecretStr = Field(
        validation_alias="OPSGATE_ADAPTER_TOKEN",
        min_length=16,
        description="this adapter's own token; the gateway's directory holds its SHA-256",
    )
    slack_api_url: FolderUrl = Field(
        default="https://slack.com/api/",
        validation_alias="OPSGATE_SLACK_API_URL",
        description="Slack's Web API, ending in a slash",
    )
    response_url_prefix: FolderUrl = Field(
        default="https://hooks.slack.com/",
        validation_alias="OPSGATE_SLACK_RESPONSE_URL_PREFIX",
        description="where late answers may be sent, ending in a slash; another address is refused",
    )
    loud_channel: str = Field(
        default="",
        pattern=r"^[A-Z0-9]{0,20}$",
        validation_alias="OPSGATE_SLACK_LOUD_CHANNEL",
        description="id of the channel that reads when somebody breaks the glass; empty for none",
    )
    state: Path = Field(
        default=Path(".opsgate/slack.db"),
        validation_alias="OPSGATE_SLACK_STATE",
        description="the SQLite file that remembers which message shows which Invocation",
    )
    host: str = Field(
        default="127.0.0.1", validation_alias="OPSGATE_SLACK_HOST", description="the address to listen on"
    )
    port: int = Field(
        default=8430, ge=0, le=65535, validation_alias="OPSGATE_SLACK_PORT", description="the port to listen on"
    )
    otlp_endpoint: str = Field(
        default="",
        validation_alias="OPSGATE_OTLP_ENDPOINT",
        description="where spans go (OTLP over HTTP); empty for nowhere",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", validation_alias="OPSGATE_LOG_LEVEL", description="how much is logged"
    )


def load() -> SlackSettings:
    """The settings, or SystemExit with one line per problem that says what to set."""
    try:
        return SlackSettings()
    except ValidationError as wrong:
        means = {str(f.validation_alias): f.description for f in SlackSettings.model_fields.values()}
        lines = [f"  {p['loc'][0]}: {p['msg']}. It is {means.get(str(p['loc'][0]))}." for p in wrong.errors()]
        raise SystemExit("The Slack adapter cannot start. Set these:\n" + "\n".join(lines)) from None
