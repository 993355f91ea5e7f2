"""`python -m dev.demo` (make demo): one story in the terminal, by the public API, each message as people see it.

Refuses to pass when the story goes another way: every step is checked, and the exit code tells.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

from dev.embedded import ROOT
from dev.processes import Child, ChildFailed, clean_environment
from opsgate.cli.render import card, coloured, progress
from opsgate.client import Client
from opsgate.contracts.invocations import Answer, ChatContext, InvocationView, SendMessage, State
from opsgate.errors import OpsgateError

CHANNEL = ChatContext(channel="payments", channel_kind="public")
OVER = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.DENIED, State.EXPIRED, State.UNKNOWN})
PATIENCE_S = 20


class WentWrong(Exception):
    """The story did not go as it must; the text says where."""


def must(held: bool, what: str) -> None:
    if not held:
        raise WentWrong(f"This should have happened and did not: {what}")


def chapter(text: str) -> None:
    print(f"\n\x1b[1m{text}\x1b[0m" if coloured() else f"\n== {text}", flush=True)


class Chat:
    """The chat room: who says what, and what Opsgate answers."""

    def __init__(self, clients: dict[str, Client]) -> None:
        self.clients = clients

    async def say(self, person: str, line: str) -> Answer:
        print(f"\n{person.title()}: {line}", flush=True)
        answer = await self.clients[person].send_message(SendMessage(text=line, context=CHANNEL))
        only = f"  (only {person.title()} sees this)" if answer.private else ""
        self.show(card(answer.card) + only)
        return answer

    def show(self, text: str) -> None:
        print("  " + text.replace("\n", "\n  "), flush=True)

    async def follow(self, person: str, invocation_id: str) -> InvocationView:
        """Watch the one message change until it is over; of its progress only the line that moves."""
        shown = ""
        async with asyncio.timeout(PATIENCE_S):
            feed = self.clients[person].events(last_event_id=0, invocation=invocation_id)
            async with aclosing(feed) as events:
                async for event in events:
                    view = event.invocation
                    if view is None or view.state in (State.PENDING, State.QUEUED):
                        continue
                    looks = progress(view.card.progress) if view.card.progress else card(view.card)
                    if looks != shown:
                        self.show(looks)
                        shown = looks
                    if view.state in OVER:
                        return view
        raise WentWrong(f"The feed ended before {invocation_id} did.")


def asked(answer: Answer, state: State, what: str) -> InvocationView:
    view = answer.invocation
    if view is None or view.state not in (state, State.RUNNING if state is State.QUEUED else state):
        raise WentWrong(f"This should have happened and did not: {what}")
    return view


async def story(chat: Chat) -> None:
    chapter("1. Staging: allowed, so it runs at once")
    view = asked(await chat.say("alice", "/ops deploy staging api-service --version 1.4.2"), State.QUEUED, "it runs")
    must((await chat.follow("alice", view.id)).state is State.SUCCEEDED, "the staging deploy succeeds")

    chapter("2. Production: it waits for an owner")
    answer = await chat.say("alice", "/ops deploy production api-service --version 1.4.2")
    view = asked(answer, State.PENDING, "the production deploy waits for approval")

    chapter("3. Alice cannot approve what she asked for herself")
    must((await chat.say("alice", f"/ops approve {view.id}")).kind == "refusal", "her own approval is refused")

    chapter("4. Bob owns the service and approves; one message shows how it goes")
    await chat.say("bob", "/ops " + view.card.buttons[0].command)
    must((await chat.follow("alice", view.id)).state is State.SUCCEEDED, "the production deploy succeeds")

    chapter("5. Dave is a guest: denied, and told why")
    answer = await chat.say("dave", "/ops deploy production api-service --version 1.4.2")
    asked(answer, State.DENIED, "Dave is denied")
    must(bool(answer.invocation and answer.invocation.decision.reasons), "Dave is told why")


def opsgate(*arguments: str, into: Path | None = None) -> int:
    """The command line, as a person runs it; gives its exit code."""
    print(f"\n$ opsgate {' '.join(arguments)}" + (f" > {into.name}" if into else ""), flush=True)
    command = [sys.executable, "-m", "opsgate", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if into:
        into.write_text(done.stdout)
    else:
        print("  " + done.stdout.strip().replace("\n", "\n  "), flush=True)
    return done.returncode


def check_audit(url: str, folder: Path) -> None:
    chapter("6. The audit log verifies, and a byte flipped in a copy is found")
    log, copy = folder / "audit.jsonl", folder / "flipped.jsonl"
    must(opsgate("audit", "export", "--url", url, "--as", "carol", into=log) == 0, "Carol of security exports the log")
    must(opsgate("audit", "verify", str(log)) == 0, "the audit log verifies")
    content = bytearray(log.read_bytes())
    place = content.index(b"alice") + 1
    content[place] ^= 1
    copy.write_bytes(content)
    must(opsgate("audit", "verify", str(copy)) == 1, "the flipped byte is found")


async def play(url: str) -> None:
    async with AsyncExitStack() as stack:
        nobody = await stack.enter_async_context(Client(url, ""))
        clients = {}
        for person in ("alice", "bob", "dave"):
            token = (await nobody.persona_token(person)).token
            clients[person] = await stack.enter_async_context(Client(url, token))
        await story(Chat(clients))


def main() -> int:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="opsgate-demo-") as name:
        folder = Path(name)
        ready = folder / "ready.json"
        command: list[object] = [sys.executable, "-m", "dev", "--port", "0", "--data", folder / "data"]
        command += ["--ready-file", ready]
        house = Child("Opsgate", command, folder / "dev.log", env=clean_environment(), cwd=ROOT)
        try:
            house.wait_ready(ready.exists, 60)
            url = json.loads(ready.read_text())["url"]
            print(f"Opsgate runs at {url}, with its data in {folder}.")
            asyncio.run(play(url))
            check_audit(url, folder)
        except (WentWrong, ChildFailed, OpsgateError, TimeoutError) as trouble:
            print(
                f"\nThe demo stopped. {str(trouble) or 'Nothing happened for too long.'}\n{house.tail()}",
                file=sys.stderr,
            )
            return 1
        except KeyboardInterrupt:
            return 130
        finally:
            house.stop()
    print(f"\nThat was all, in {time.monotonic() - began:.0f} s. Now try it yourself: make dev")
    return 0


if __name__ == "__main__":
    sys.exit(main())
