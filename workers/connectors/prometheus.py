"""Named, parametrised questions to a Prometheus, from a YAML file.

Refuses free PromQL (one hostile line can hold the server for long) and to call missing data 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from opsgate.connectors import Connector, ConnectorError, Handle, Operation, Result, Run, Succeeded
from workers.outside import Outside, Reading, Refused

MIN_WINDOW_S = 10
MAX_WINDOW_S = 86400
SERVER_LIMIT = "5s"
MAX_SERIES = 10

_QUOTED = re.compile(r'=\s*"\$(?:service|environment)"')
_PLACEHOLDERS = {"service", "environment", "window"}


class Query(BaseModel):
    """`promql` may use `"$service"` and `"$environment"` as whole label values, and `$window` as a duration."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    summary: str
    unit: str = ""
    promql: str
    max_window_s: int = Field(default=3600, ge=MIN_WINDOW_S, le=MAX_WINDOW_S)

    @field_validator("promql")
    @classmethod
    def _only_whole_values(cls, promql: str) -> str:
        template = Template(promql)
        if not template.is_valid() or not set(template.get_identifiers()) <= _PLACEHOLDERS:
            raise ValueError('only "$service", "$environment" and $window can stand in it')
        if {"service", "environment"} & set(Template(_QUOTED.sub("", promql)).get_identifiers()):
            raise ValueError('$service and $environment must be whole label values: service="$service"')
        return promql


class QueryFile(BaseModel):
    """The whole file: `queries`, by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    queries: dict[str, Query] = Field(min_length=1)


class QueryInput(BaseModel):
    """`window_s`: how far back to look, seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    query: str = Field(min_length=1, max_length=64)
    service: str = Field(min_length=1, max_length=128)
    environment: str = Field(min_length=1, max_length=128)
    window_s: int = Field(default=300, ge=MIN_WINDOW_S, le=MAX_WINDOW_S)


class Ask(Reading[QueryInput]):
    name = "prometheus.query"
    summary = "The answer to a named question about a service, from Prometheus"
    input = QueryInput

    def __init__(self, prometheus: Outside, queries: Mapping[str, Query]) -> None:
        self._prometheus = prometheus
        self._queries = queries

    def start(self, run: Run, input: QueryInput) -> Handle:
        query = self._queries.get(input.query)
        if query is None:
            raise ConnectorError(f"There is no query {input.query!r}; there are {', '.join(sorted(self._queries))}.")
        if input.window_s > query.max_window_s:
            raise ConnectorError(f"{input.query} looks back at most {query.max_window_s} s; ask for less.")
        return {}

    def follow(self, run: Run, input: QueryInput, handle: Handle) -> Result:
        query = self._queries[input.query]
        form = {"query": promql(query, input), "timeout": SERVER_LIMIT}
        try:
            answer = self._prometheus.post("/api/v1/query", form=form)
        except Refused as error:
            raise ConnectorError(f"Prometheus refused the query {input.query} ({error}); correct its file.") from error
        subject = f"{query.summary} of {input.service} in {input.environment}, last {input.window_s} s"
        values = _values(answer["data"])
        facts = {"query": input.query, "unit": query.unit, "values": values}
        if not values:
            return Succeeded(f"{subject}: no data. Check the names, and that Prometheus scrapes it.", facts)
        said = ", ".join(f"{each['value']:.4g}{_suffix(query.unit)}{_labels(each['labels'])}" for each in values)
        return Succeeded(f"{subject}: {said}.", facts)


class PrometheusConnector(Connector):
    """Set OPSGATE_PROMETHEUS_URL and OPSGATE_PROMETHEUS_QUERIES_FILE."""

    name = "prometheus"

    def __init__(self, environment: Mapping[str, str]) -> None:
        url = environment.get("OPSGATE_PROMETHEUS_URL", "")
        file = environment.get("OPSGATE_PROMETHEUS_QUERIES_FILE", "")
        if not url or not file:
            raise ValueError("OPSGATE_PROMETHEUS_URL and OPSGATE_PROMETHEUS_QUERIES_FILE must both be set.")
        self._prometheus = Outside("Prometheus", url)
        self._queries = read_queries(Path(file))

    def operations(self) -> tuple[Operation[Any], ...]:
        return (Ask(self._prometheus, self._queries),)


def read_queries(path: Path) -> dict[str, Query]:
    """Raises ValueError that names the file and everything wrong in it."""
    try:
        return QueryFile.model_validate(yaml.safe_load(path.read_text("utf-8"))).queries
    except OSError as error:
        raise ValueError(
            f"{path} cannot be read ({error.strerror}); correct OPSGATE_PROMETHEUS_QUERIES_FILE."
        ) from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ValueError(f"{path}: {wrong}") from error


def promql(query: Query, input: QueryInput) -> str:
    """The question with its values put in; a label value can never end its quotes."""
    return Template(query.promql).substitute(
        service=_escaped(input.service), environment=_escaped(input.environment), window=f"{input.window_s}s"
    )


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _values(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Numbers only: NaN and infinities (a rate of nothing over nothing) are no data."""
    series = [{"metric": {}, "value": data["result"]}] if data["resultType"] == "scalar" else data["result"]
    values = [{"labels": each["metric"], "value": float(each["value"][1])} for each in series[:MAX_SERIES]]
    return [each for each in values if math.isfinite(each["value"])]


def _suffix(unit: str) -> str:
    return f" {unit}" if unit else ""


def _labels(labels: Mapping[str, str]) -> str:
    return f" ({', '.join(f'{name} {value}' for name, value in labels.items())})" if labels else ""
