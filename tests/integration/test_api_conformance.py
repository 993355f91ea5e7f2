"""The gateway does what /openapi.json says, tried with made-up requests: good ones, borderline ones and bad ones.

Refuses to leave out a check: where one expects something else of the gateway, its setting below says why.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
import schemathesis
from schemathesis import Case, CheckContext, GenerationMode, HookContext, Response
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema
from schemathesis.engine.events import EngineEvent, NonFatalError, ScenarioFinished
from schemathesis.engine.run import PhaseName

from gateway.api.limits import MAX_BODY
from opsgate.contracts.problems import CONTENT_TYPE, Code, Problem
from tests.rig import stages
from tests.rig.stages import EmbeddedStage

FEED, CLAIM = "GET /v1/events", "POST /worker/v1/claims"
FOR_WORKERS, FOR_OTHERS = "^/worker/", "^/(?!worker/)"
SETTINGS: dict[str, Any] = {
    "generation": {"deterministic": True, "max-examples": 25},
    "phases": {"stateful": {"max-steps": 6, "generation": {"max-examples": 15}}},
    "continue-on-failure": True,
    "request-timeout": 15,
    "cache": {"enabled": False},
    # Random text is hardly ever a command line, and what comes after the parser is to be tried too.
    "dictionaries": {"lines": {"values": ["status api-service", "deploy staging api-service --version 1.4.2", "help"]}},
    "parameters": {"body.text": {"dictionary": "lines", "probability": 0.5}},
    "operations": [
        # An answer without an end: it has tests of its own below.
        {"include-operation-id": "followEvents", "enabled": False},
        # A line that people type comes in here. No schema says which lines are commands, so one of the right shape may
        # be none (422, `bad_command`). That 422 means nothing else is a check of our own below.
        {
            "include-operation-id": ["submitInvocation", "askDecision"],
            "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "401", "403", "409", "422", "429"]}},
        },
    ],
}
"""All checks are on. `object_level_authorization` has nothing to do: what was asked for is there for all to see."""

_numbers = itertools.count()


@schemathesis.hook
def before_call(_: HookContext, case: Case, **__: Any) -> None:
    """An idempotency key is new for each thing asked: a made-up one comes again, and would only be told so."""
    key = case.headers.get("Idempotency-Key")
    if isinstance(key, str) and _good(case):
        case.headers["Idempotency-Key"] = f"{key}{next(_numbers)}"[-128:]


@schemathesis.check
def a_good_shape_is_only_refused_for_what_it_says(_: CheckContext, response: Response, case: Case) -> None:
    """422 to a request as described means `bad_command`; what the document shows as an example is understood."""
    if response.status_code == 422 and _good(case):
        assert response.json()["code"] == Code.BAD_COMMAND, response.text
        assert case.meta and case.meta.phase.name is not PhaseName.EXAMPLES, response.text


def _good(case: Case) -> bool:
    """Whether it was made to fit the description."""
    return case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE


@dataclass
class Tried:
    """What came of it. `answered`: which statuses an operation gave to requests as described, and how often."""

    wrong: list[str] = field(default_factory=list)
    answered: Counter[tuple[str, int]] = field(default_factory=Counter)

    def note(self, event: EngineEvent) -> None:
        if isinstance(event, NonFatalError):
            self.wrong.append(f"{event.label}: {event.value}")
        if not isinstance(event, ScenarioFinished):
            return
        told = event.recorder
        for id, node in told.cases.items():
            exchange = told.interactions.get(id)
            response = exchange.response if exchange else None
            label = node.value.operation.label
            if response and _good(node.value):
                self.answered[label, response.status_code] += 1
            for check in told.checks.get(id, ()):
                if check.failure_info:
                    why, sent = check.failure_info.failure, check.failure_info.code_sample
                    shown = (response.text or "")[:1000] if response else "(no answer)"
                    self.wrong.append(f"{label}: {check.name}: {why}\n  {sent}\n  {shown}")

    def succeeded(self) -> set[str]:
        return {label for label, status in self.answered if 200 <= status < 300}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStage]:
    """A house of its own: it is asked a lot of nonsense."""
    with stages.embedded(tmp_path_factory.mktemp("conformance")) as stage:
        yield stage


@pytest.fixture(scope="module")
def document(house: EmbeddedStage) -> dict[str, Any]:
    found: dict[str, Any] = httpx2.get(f"{house.url}/openapi.json", trust_env=False).json()
    return found


def operations(document: dict[str, Any]) -> set[str]:
    return {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}


def tried(house: EmbeddedStage, leave_out: str, stateful: bool, **tokens: str) -> Tried:
    """Every operation but those on paths to `leave_out`, tried with these tokens (by security scheme)."""
    auth = {"openapi": {scheme: {"bearer": token} for scheme, token in tokens.items()}}
    config = SchemathesisConfig.from_dict(SETTINGS | {"auth": auth})
    config.projects.get_default().phases.stateful.enabled = stateful
    described = schemathesis.openapi.from_url(f"{house.url}/openapi.json", config=config)
    found = Tried()
    for event in from_schema(described.exclude(path_regex=leave_out)).execute():
        found.note(event)
    return found


@pytest.mark.parametrize("person", ["bob", "carol"])
def test_every_answer_to_a_person_is_as_described(house: EmbeddedStage, document: dict[str, Any], person: str) -> None:
    """Bob owns a service, carol is of security. Whatever they send, one after the other, what comes back is declared."""
    found = tried(house, FOR_WORKERS, True, Caller=house.token(person))
    assert not found.wrong, "\n\n".join(found.wrong)
    assert found.succeeded() == {o for o in operations(document) if "/worker/" not in o} - {FEED}


def test_every_answer_to_a_worker_is_as_described(house: EmbeddedStage, document: dict[str, Any]) -> None:
    """A claim needs a ticket, which only a message of the broker brings: 403 is the right answer to all others."""
    found = tried(house, FOR_OTHERS, False, Worker=house.worker_token)
    assert not found.wrong, "\n\n".join(found.wrong)
    assert found.succeeded() == {o for o in operations(document) if "/worker/" in o} - {CLAIM}
    assert found.answered[CLAIM, 403]


def test_the_feed_is_the_stream_it_is_said_to_be(house: EmbeddedStage, document: dict[str, Any]) -> None:
    """One declared media type, and events with the id to come again with."""
    declared = document["paths"]["/v1/events"]["get"]["responses"]["200"]["content"]
    with house.http("bob") as http, http.stream("GET", "/v1/events", headers={"Last-Event-ID": "0"}) as feed:
        key = {"Idempotency-Key": f"feed-{next(_numbers)}"}
        http.post("/v1/messages", json={"text": "status api-service"}, headers=key).raise_for_status()
        assert feed.status_code == 200
        assert {feed.headers["Content-Type"].split(";")[0]} == set(declared) == {"text/event-stream"}
        fields = [line.split(": ")[0] for line in itertools.islice(feed.iter_lines(), 4)]
    assert fields == ["id", "event", "data", ""]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Authorization": ""}, 401, Code.UNAUTHENTICATED),
        ({"Last-Event-ID": "the last one"}, 422, Code.BAD_INPUT),
    ],
)
def test_the_feed_refuses_as_declared(
    house: EmbeddedStage, document: dict[str, Any], headers: dict[str, str], status: int, code: Code
) -> None:
    """Before the stream begins an error is a problem document like any other."""
    with house.http("bob") as http:
        problem = refusal(http.get("/v1/events", headers=headers), status)
    assert problem.code is code
    assert str(status) in document["paths"]["/v1/events"]["get"]["responses"]


def test_every_operation_says_that_a_body_can_be_too_large(house: EmbeddedStage, document: dict[str, Any]) -> None:
    """413 comes before anything else, of every operation, whoever asks."""
    with httpx2.Client(base_url=house.url, trust_env=False) as http:
        for operation in sorted(operations(document)):
            method, path = operation.split()
            problem = refusal(http.request(method, path, content=b" " * (MAX_BODY + 1)), 413)
            assert problem.code is Code.TOO_LARGE
            assert "413" in document["paths"][path][method.lower()]["responses"], operation


def refusal(answer: httpx2.Response, status: int) -> Problem:
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, CONTENT_TYPE), answer.text
    return Problem.model_validate_json(answer.content)
