"""Bad input and broken files against a running house: each message says what is wrong and what to do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
import yaml
from playwright.sync_api import expect, sync_playwright

from opsgate.contracts.commands import CommandView
from opsgate.contracts.decisions import Verdict
from opsgate.contracts.invocations import Answer, Page, State
from opsgate.contracts.problems import Code
from tests.browser.people import Somebody
from tests.integration.trouble import complains, failing, ready, recovering, well
from tests.rig import stages
from tests.rig.slack import ADAPTER_TOKEN, Sender
from tests.rig.stages import SLACK_SIGNING_SECRET, EmbeddedStage
from tests.stories.room import Room, eventually, read, refused

pytestmark = pytest.mark.slow

TELEPORT = """\
family: Experiments
commands:
  - name: teleport
    summary: Move a service to the moon
    effect: read
    operation: moon.teleport
    inputs: {}
    examples: [teleport]
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStage]:
    """A house of its own: what is broken here disturbs no other test."""
    with stages.embedded(tmp_path_factory.mktemp("trouble")) as stage:
        yield stage


@pytest.fixture
def room(house: EmbeddedStage) -> Iterator[Room]:
    with recovering(house) as room:
        yield room


# ---- people -----------------------------------------------------------------------------------------------------


def test_somebody_who_left_the_directory_is_told_who_they_are_taken_for(room: Room) -> None:
    """Their token is still good; the directory decides, at once."""
    directory = room.stage.files.directory
    before = directory.read_text()
    assert room.as_("dave").get("/v1/whoami").is_success
    content = yaml.safe_load(before)
    content["people"] = [person for person in content["people"] if person["id"] != "dave"]
    directory.write_text(yaml.safe_dump(content))
    eventually(lambda: room.as_("dave").get("/v1/whoami").status_code == 401)
    problem = refused(room.post("dave", "/v1/messages", {"text": "help"}), 401, Code.UNAUTHENTICATED)
    assert problem.detail == (
        "You are signed in as `dave`, whom Opsgate does not know, or not any more. Ask the operator to add you."
    )
    directory.write_text(before)
    eventually(lambda: room.as_("dave").get("/v1/whoami").is_success)


def slack_line(stage: EmbeddedStage, text: str, person: str) -> httpx2.Response:
    """A command that Slack really signed, as the adapter carries it to the gateway."""
    delivery = Sender(SLACK_SIGNING_SECRET).command(text, person)
    signed = {name: value for name, value in delivery.headers.items() if name.startswith("x-slack-")}
    body = {"text": text, "evidence": {"platform": "slack", "body": delivery.body, "headers": signed}}
    headers = {"Authorization": f"Bearer {ADAPTER_TOKEN}", "Idempotency-Key": uuid4().hex}
    return httpx2.post(f"{stage.url}/v1/messages", json=body, headers=headers, trust_env=False)


def test_a_chat_account_that_is_nobodys_is_told_its_own_id_and_whom_to_ask(house: EmbeddedStage, room: Room) -> None:
    """The id in the message is what the operator has to write into the directory; nothing was run or kept."""
    nobody = read(slack_line(house, "status api-service", "U0NOBODY"), Answer)
    assert nobody.kind == "refusal"
    assert "not linked to a person yet" in nobody.card.text
    assert "ask the operator to add this account to you in the directory" in nobody.card.text
    assert read(slack_line(house, "whoami", "U0ALICE"), Answer).card.title == "Alice"


# ---- what no JSON parser should meet ----------------------------------------------------------------------------

JSON = "application/json"
BODIES: dict[str, tuple[bytes, str, int, Code, str]] = {
    "too large": (b'{"text":"%s"}' % (b"x" * 262_144), JSON, 413, Code.TOO_LARGE, "larger than 256 KiB. Send less."),
    "deep arrays": (b"[" * 10_000 + b"]" * 10_000, JSON, 400, Code.BAD_INPUT, "nests deeper than 64. Send it flatter."),
    "deep objects": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, JSON, 400, Code.BAD_INPUT, "deeper than 64"),
    "never closed": (b"[" * 10_000, JSON, 400, Code.BAD_INPUT, "deeper than 64"),
    "no UTF-8": (b'{"text":"\xff\xfe"}', JSON, 400, Code.BAD_INPUT, "The body is not UTF-8. Send JSON as UTF-8."),
    "UTF-16": ('{"text":"help"}'.encode("utf-16"), JSON, 400, Code.BAD_INPUT, "not UTF-8"),
    "UTF-16 without a mark": ('{"text":"help"}'.encode("utf-16-le"), JSON, 400, Code.BAD_INPUT, "not UTF-8"),
    "empty": (b"", JSON, 422, Code.BAD_INPUT, "The body is empty. Send JSON"),
    "broken off": (b'{"text":"he', JSON, 422, Code.BAD_INPUT, "breaks off or has a mistake at character 8."),
    "a list": (b"[1]", JSON, 422, Code.BAD_INPUT, "The body is JSON, but no object."),
    "a form": (b"text=help", "application/x-www-form-urlencoded", 422, Code.BAD_INPUT, "not marked as JSON. Send it"),
    "plain text": (b'{"text":"help"}', "text/plain", 422, Code.BAD_INPUT, "header `Content-Type: application/json`."),
    "unmarked": (b'{"text":"help"}', "", 422, Code.BAD_INPUT, "header `Content-Type: application/json`."),
    "an unknown field": (b'{"text":"help","as":"bob"}', JSON, 422, Code.BAD_INPUT, "`errors` says where"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_nobody_can_use_is_refused_with_what_to_send_instead(room: Room, name: str) -> None:
    """As a problem document, before anything is parsed that must not be; the house answers the next one as ever."""
    content, kind, status, code, words = BODIES[name]
    headers = {"Idempotency-Key": uuid4().hex} | ({"Content-Type": kind} if kind else {})
    problem = refused(room.as_("alice").post("/v1/messages", content=content, headers=headers), status, code)
    assert words in problem.detail
    assert room.say("alice", "whoami").kind == "identity"


def test_a_body_without_end_is_cut_off_at_the_limit(room: Room) -> None:
    """No length was announced, so nothing but counting helps."""

    def stream() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * 8192

    headers = {"Idempotency-Key": uuid4().hex, "Content-Type": JSON}
    refused(room.as_("alice").post("/v1/messages", content=stream(), headers=headers), 413, Code.TOO_LARGE)


# ---- command files and the directory ----------------------------------------------------------------------------


@pytest.fixture
def teleport(room: Room) -> Iterator[Path]:
    """A command file that did not exist when the house was started; gone afterwards."""
    file = room.stage.files.commands / "teleport.yaml"
    yield file
    file.unlink()
    eventually(lambda: "teleport" not in commands(room))


def commands(room: Room) -> set[str]:
    """What the catalog in force offers."""
    page = Page[CommandView].model_validate_json(room.as_("alice").get("/v1/commands").raise_for_status().content)
    return {command.name for command in page.items}


def test_a_command_no_worker_can_carry_out_is_known_and_refused_in_words(room: Room, teleport: Path) -> None:
    """Readiness names the operation; the catalog goes on; who asks learns why it cannot run, and nothing is kept."""
    teleport.write_text(TELEPORT)
    eventually(lambda: "moon.teleport" in failing(room.stage)["operations"])
    said = failing(room.stage)["operations"]
    assert said.startswith("no worker offers moon.teleport")
    assert said.endswith("start one with that connector or correct the command files")
    assert ready(room.stage)
    assert {"teleport", "deploy"} <= commands(room)
    before = room.audit()
    for path in ("/v1/messages", "/v1/invocations"):
        problem = refused(room.post("alice", path, {"text": "teleport"}), 409, Code.NOT_POSSIBLE_NOW)
        assert "`teleport` needs the operation `moon.teleport`, which no worker offers." in problem.detail
        assert "Ask the operator to start a worker with that connector" in problem.detail
    assert room.audit() == before
    assert room.until("alice", room.ask("alice", "status api-service").id).state is State.SUCCEEDED


BROKEN = {
    "a field misspelt": (
        TELEPORT.replace("summary", "sumary"),
        ("teleport.yaml:3: commands.0.summary: this field is missing; add it", "teleport.yaml:4: commands.0.sumary:"),
    ),
    "no YAML": ("family: Experiments\ncommands: [\n  - name: {{\n", ("teleport.yaml:3: this is not YAML",)),
    "a word taken": (TELEPORT.replace("teleport", "deploy"), ("`deploy` is taken already, in services.yaml",)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_command_file_changes_nothing_and_is_named_with_its_line(
    room: Room, teleport: Path, name: str
) -> None:
    """The old catalog stays in force, whole; mended, the new one is."""
    content, wanted = BROKEN[name]
    teleport.write_text(content)
    said = complains(room.stage, "catalog")
    assert said.startswith("The catalog on disk is broken, so the old one stays in force: ")
    assert all(words in said for words in wanted), said
    assert "Tuple" not in said
    assert ready(room.stage)
    assert "teleport" not in commands(room)
    assert room.ask("alice", "status api-service").state is State.QUEUED
    teleport.write_text(TELEPORT)
    eventually(lambda: "teleport" in commands(room))
    assert "catalog" not in failing(room.stage)


def broken_directories(good: str) -> dict[str, tuple[str | None, str]]:
    return {
        "unknown field": (good.replace("- id: bob", "- id: bob\n    shoe: 44"), "directory.yaml:11: people.1.shoe: "),
        "no YAML": (good + "\n  }", "this is not YAML"),
        "one account, two people": (good.replace("U0BOB", "U0ALICE"), "chat identity `slack:T0ACME/U0ALICE` stands tw"),
        "gone": (None, "directory.yaml:1: cannot be read: No such file or directory"),
    }


@pytest.mark.parametrize("name", broken_directories(""))
def test_a_broken_directory_changes_nothing_and_is_named_with_its_line(room: Room, name: str) -> None:
    """Nobody loses or gains a role by a typing mistake."""
    file = room.stage.files.directory
    good = file.read_text()
    content, wanted = broken_directories(good)[name]
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    said = complains(room.stage, "directory")
    assert said.startswith("The directory on disk is broken, so the old one stays in force: ")
    assert wanted in said
    assert ready(room.stage)
    assert "owners:api-service" in room.say("bob", "whoami").card.text
    file.write_text(good)
    eventually(lambda: "directory" not in failing(room.stage))


# ---- the policy -------------------------------------------------------------------------------------------------


@pytest.fixture
def broken_policy(room: Room) -> Iterator[tuple[Path, int]]:
    """A policy file that would let everybody do everything, were it not for a syntax error; and the error's line."""
    file = room.stage.files.policies / "members.rego"
    good = file.read_text()
    file.write_text(f"{good}\nverdict := allow if {{\n")
    yield file, len(good.splitlines()) + 3
    file.write_text(good)


def test_a_policy_with_a_syntax_error_never_comes_into_force(room: Room, broken_policy: tuple[Path, int]) -> None:
    """The old policy decides as before, and readiness says which file and line; mended, that is over."""
    file, line = broken_policy
    assert complains(room.stage, "policy_files") == (
        f"A policy file is broken, so the old policy stays live: policies/{file.name}:{line}: unexpected eof token"
    )
    assert ready(room.stage)
    assert room.ask("alice", "status api-service").decision.effect is Verdict.ALLOW
    assert room.ask("dave", "deploy staging api-service").state is State.DENIED


@pytest.mark.browser
def test_the_page_says_so_too(room: Room, broken_policy: tuple[Path, int]) -> None:
    """On top, without a reload, and only as long as it is true."""
    file, line = broken_policy
    complains(room.stage, "policy_files")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path, "The browser tests need Chromium. Install it with: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        alice = Somebody(browser.new_page(base_url=room.stage.url), "alice")
        banner = alice.page.get_by_test_id("banner")
        expect(banner).to_contain_text(f"the old policy stays live: policies/{file.name}:{line}")
        alice.keep_picture("broken-policy")
        file.write_text(file.read_text().partition("\nverdict := allow if {")[0])
        eventually(lambda: well(room.stage))
        alice.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # she comes back to the window
        expect(banner).to_be_hidden()
        assert alice.troubles == []
        browser.close()
