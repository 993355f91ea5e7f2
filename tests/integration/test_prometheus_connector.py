"""The prometheus connector against a real Prometheus that scrapes the real practice fleet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from opsgate.connectors import ConnectorError, Operation, OutsideUnreachable, Run, Succeeded
from tests.rig.fleet import FleetProcess, fleet
from tests.rig.servers import prometheus
from workers.connectors import ConnectorsWrong, load
from workers.settings import EXAMPLE_QUERIES

pytestmark = pytest.mark.production

RUN = Run("inv_1", 60, lambda line: None)
API = {"service": "api-service", "environment": "production", "window_s": 60}


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetProcess]:
    with fleet(tmp_path_factory.mktemp("fleet")) as running:
        yield running


@pytest.fixture(scope="module")
def url(process: FleetProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus that has scraped often enough for a rate."""
    with prometheus(tmp_path_factory.mktemp("prometheus") / "home", f"127.0.0.1:{process.port}") as running:
        deadline = time.monotonic() + 30
        while not _scraped(running):
            assert time.monotonic() < deadline, "Prometheus did not scrape the fleet"
            time.sleep(0.2)
        yield running


def _scraped(url: str) -> bool:
    query = 'rate(fleet_requests_total{service="ledger", environment="production"}[60s]) > 0'
    answer = httpx2.get(f"{url}/api/v1/query", params={"query": query}, trust_env=False).json()
    return bool(answer["data"]["result"])


def operation(url: str, queries: Path = EXAMPLE_QUERIES) -> Operation[Any]:
    environment = {"OPSGATE_PROMETHEUS_URL": url, "OPSGATE_PROMETHEUS_QUERIES_FILE": str(queries)}
    return load(["prometheus"], environment)["prometheus.query"]


def ask(made: Operation[Any], query: str, **more: Any) -> Succeeded:
    given = made.input(query=query, **{**API, **more})
    result = made.follow(RUN, given, made.start(RUN, given))
    assert isinstance(result, Succeeded)
    return result


@pytest.mark.parametrize(
    ("query", "begins", "ends", "low", "high"),
    [
        ("up", "Fewest healthy replicas of api-service in production, last 60 s: ", "3 replicas.", 3, 3),
        ("request_rate", "Requests answered of api-service in production, last 60 s: ", " per second.", 1, 200),
        ("error_rate", "Share of requests that failed of api-service in production", " percent.", 0, 10),
        ("cpu", "CPU in use of api-service in production, last 60 s: ", " percent.", 20, 60),
    ],
)
def test_every_example_query_has_an_answer(
    url: str, query: str, begins: str, ends: str, low: float, high: float
) -> None:
    """A sentence with its unit, and the number as a fact."""
    result = ask(operation(url), query)
    assert result.summary.startswith(begins)
    assert result.summary.endswith(ends)
    (value,) = result.facts["values"]
    assert low <= value["value"] <= high


def test_nothing_is_called_no_data_and_never_zero(url: str) -> None:
    """A service that Prometheus has never seen."""
    result = ask(operation(url), "request_rate", service="moon-base")
    assert "no data" in result.summary
    assert result.facts["values"] == []


def test_a_rate_of_nothing_over_nothing_is_no_data(url: str, tmp_path: Path) -> None:
    """NaN is not a number to show to people."""
    file = tmp_path / "queries.yaml"
    file.write_text("queries: {odd: {summary: Odd, promql: 'vector(0) / vector(0)'}}")
    assert "no data" in ask(operation(url, file), "odd").summary


def test_many_series_are_told_with_their_labels(url: str, tmp_path: Path) -> None:
    """A query may group."""
    file = tmp_path / "queries.yaml"
    promql = 'sum by (environment) (fleet_replicas{service="$service"})'
    file.write_text(f"queries:\n  all:\n    summary: Replicas\n    promql: '{promql}'\n")
    result = ask(operation(url, file), "all")
    assert {value["labels"]["environment"] for value in result.facts["values"]} == {"staging", "production"}
    assert "3 (environment production)" in result.summary


@pytest.mark.parametrize("name", ['"} or up{a="', "a\\", 'x"} or vector(1) #', "line\nbreak", "$window", "{{service}}"])
def test_a_value_cannot_leave_its_quotes(url: str, name: str) -> None:
    """Hostile names are only names: Prometheus understands the query and knows no such service."""
    assert "no data" in ask(operation(url), "request_rate", service=name).summary


def test_a_query_that_is_not_listed_is_refused_with_those_that_are(url: str) -> None:
    """Free PromQL has no way in."""
    with pytest.raises(ConnectorError, match=r"no query 'up\{\}'; there are cpu, error_rate, request_rate, up"):
        ask(operation(url), "up{}")


def test_a_window_longer_than_the_query_allows_is_refused(url: str) -> None:
    """Before Prometheus is asked."""
    with pytest.raises(ConnectorError, match="cpu looks back at most 3600 s"):
        ask(operation(url), "cpu", window_s=7200)


def test_promql_that_prometheus_refuses_names_the_query(url: str, tmp_path: Path) -> None:
    """Its author has to correct it."""
    file = tmp_path / "queries.yaml"
    file.write_text("queries: {odd: {summary: Odd, promql: 'sum('}}")
    with pytest.raises(ConnectorError, match=r"refused the query odd \(.*parse error.*\); correct its file") as error:
        ask(operation(url, file), "odd")
    assert not isinstance(error.value, OutsideUnreachable)


def test_a_prometheus_that_is_not_there_is_unreachable() -> None:
    """And is asked again later."""
    with pytest.raises(OutsideUnreachable):
        ask(operation("http://127.0.0.1:9"), "up")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("queries: {}", "queries"),
        ("queries: {a: {summary: A, promql: 'up{a=~\"$service\"}'}}", "whole label values"),
        ("queries: {a: {summary: A, promql: 'up{a=\"x$service\"}'}}", "whole label values"),
        ("queries: {a: {summary: A, promql: 'up[$range]'}}", "can stand in it"),
        ("queries: {a: {summary: A, promql: up, colour: red}}", "colour"),
        ("queries: [", "is not YAML"),
    ],
)
def test_a_wrong_query_file_is_refused_at_the_start(tmp_path: Path, text: str, words: str) -> None:
    """With the file and what is wrong in it."""
    file = tmp_path / "queries.yaml"
    file.write_text(text)
    with pytest.raises(ConnectorsWrong, match=words):
        operation("http://127.0.0.1:9", file)


def test_a_missing_query_file_is_said(tmp_path: Path) -> None:
    """With the setting to correct."""
    with pytest.raises(ConnectorsWrong, match="correct OPSGATE_PROMETHEUS_QUERIES_FILE"):
        operation("http://127.0.0.1:9", tmp_path / "none.yaml")
