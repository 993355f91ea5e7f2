"""The OpenAPI document says the truth: Schemathesis, with its full set of checks, asks everything it describes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from gateway.api.limits import MAX_BODY

if TYPE_CHECKING:
    from tests.rig.stages import EmbeddedStage

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
EXAMPLES = 20
"""Inputs made up for each operation, besides those that walk along every border of its schema."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStage]:
    """A house of its own: what is made up here must not stand in the way of stories."""
    from tests.rig import stages

    with stages.embedded(tmp_path_factory.mktemp("conformance")) as stage:
        yield stage


def conforms(url: str, token: str, *chosen: str) -> None:
    """Fails with Schemathesis' own report. The seed is fixed: a failure can be asked for again."""
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(HERE / "schemathesis.toml")]
    options = ["--checks", "all", "--continue-on-failure", "--max-examples", str(EXAMPLES), "--seed", "7"]
    signed = ["--header", f"Authorization: Bearer {token}"]
    # Generation is never cut short by a deadline; the whole is bounded.
    done = subprocess.run(
        [*command, "run", f"{url}/openapi.json", *options, *signed, *chosen],
        capture_output=True,
        text=True,
        timeout=240,
    )
    found = "\n".join(line[:400] for line in done.stdout.splitlines())
    assert done.returncode == 0, found[:12_000] + done.stderr[-2_000:]


def test_what_people_and_tools_call_does_what_its_document_says(house: EmbeddedStage) -> None:
    """As Carol of security, who may read everything. The endless stream is looked at below."""
    outside = ["--exclude-path", "/v1/events", "--exclude-path-regex", "^/worker"]
    conforms(house.url, house.token("carol"), *outside)


def test_what_workers_call_does_what_its_document_says(house: EmbeddedStage) -> None:
    # No answer of a worker's call leads to another call, so there is nothing to walk along.
    phases = ["--phases", "examples,coverage,fuzzing"]
    conforms(house.url, house.worker_token, *phases, "--include-path-regex", "^/worker")


def test_the_endless_stream_is_what_its_document_says(house: EmbeddedStage) -> None:
    """Its media type, and problems for a bad cursor; how it goes on is told in the story of the feed."""
    described = httpx2.get(f"{house.url}/openapi.json", trust_env=False).json()["paths"]["/v1/events"]["get"]
    with house.http("carol") as client, client.stream("GET", "/v1/events") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].split(";")[0] in described["responses"]["200"]["content"]
    with house.http("carol") as client:
        bad = client.get("/v1/events", headers={"Last-Event-ID": "yesterday"})
        assert (bad.status_code, bad.headers["content-type"]) == (422, "application/problem+json")


def test_every_operation_says_that_a_body_can_be_too_large(house: EmbeddedStage) -> None:
    """413 comes before anything else, of every operation, whoever asks."""
    paths = httpx2.get(f"{house.url}/openapi.json", trust_env=False).json()["paths"]
    with httpx2.Client(base_url=house.url, trust_env=False) as http:
        for path, methods in paths.items():
            for method, operation in methods.items():
                answer = http.request(method.upper(), path, content=b" " * (MAX_BODY + 1))
                assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json"), path
                assert "413" in operation["responses"], (method, path)
