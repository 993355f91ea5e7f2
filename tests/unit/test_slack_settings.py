"""The Slack adapter's settings: what is missing or wrong is told at once, and no secret is ever shown."""

from __future__ import annotations

import pytest

from adapters.slack.settings import load

GOOD = {
    "SLACK_SIGNING_SECRET": "8f742231b10e8888abcd99yyyzzz85a5",
    "SLACK_BOT_TOKEN": "xoxb-loopback",
    "OPSGATE_GATEWAY_URL": "http://gateway:8420",
    "OPSGATE_ADAPTER_TOKEN": "an-adapter-token-of-some-length",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [*GOOD, "OPSGATE_SLACK_RESPONSE_URL_PREFIX", "OPSGATE_SLACK_PORT", "OPSGATE_LOG_LEVEL"]:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_all_problems_are_told_at_once(environment: pytest.MonkeyPatch) -> None:
    """An operator mends them in one go."""
    environment.setenv("OPSGATE_SLACK_PORT", "many")
    environment.setenv("OPSGATE_SLACK_RESPONSE_URL_PREFIX", "https://hooks.slack.com")
    with pytest.raises(SystemExit) as told:
        load()
    for name in [*GOOD, "OPSGATE_SLACK_PORT", "OPSGATE_SLACK_RESPONSE_URL_PREFIX"]:
        assert f"  {name}: " in str(told.value)


def test_late_answers_go_only_to_slack_unless_told_otherwise(environment: pytest.MonkeyPatch) -> None:
    """The allow-list of response_url is closed by default."""
    for name, value in GOOD.items():
        environment.setenv(name, value)
    assert load().response_url_prefix == "https://hooks.slack.com/"


def test_no_secret_is_shown(environment: pytest.MonkeyPatch) -> None:
    """Neither by the settings nor by the complaint about a bad one."""
    for name, value in GOOD.items():
        environment.setenv(name, value)
    assert not [value for value in GOOD.values() if value in repr(load()) and not value.startswith("http")]
    environment.setenv("SLACK_BOT_TOKEN", "hush")
    with pytest.raises(SystemExit) as told:
        load()
    assert "hush" not in str(told.value)
