"""Stays with one Invocation until it is over and prints what the team sees. Refuses to poll: it reads the feed."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from opsgate.cli import exits, render
from opsgate.cli.text import one_line
from opsgate.client import Client
from opsgate.contracts.invocations import InvocationView, LogLine


async def follow(client: Client, view: InvocationView, *, as_json: bool, timeout_s: float | None) -> int:
    """Prints `view`, then every change, to the end or for `timeout_s` seconds. Gives the exit code of the outcome."""
    shown = _Shown(as_json)
    shown.view(view)
    try:
        async with asyncio.timeout(timeout_s):
            await _to_the_end(client, shown, view.id)
    except TimeoutError:
        shown.note(f"Not over yet: `opsgate status {view.id}` shows how it goes on.")
        return exits.WAITING
    except asyncio.CancelledError:
        shown.note(f"It goes on without you: `opsgate cancel {view.id}` stops it.")
        raise
    return exits.OF_STATE[shown.state]


async def follow_log(client: Client, invocation_id: str, *, as_json: bool) -> int:
    """Prints the log from its first line until the Invocation is over."""
    view = await client.invocation(invocation_id)
    shown = _Shown(as_json, only_log=True)
    async for line in client.log(invocation_id):
        shown.line(line)
    shown.view(view)
    await _to_the_end(client, shown, invocation_id)
    return exits.OK


async def _to_the_end(client: Client, shown: _Shown, invocation_id: str) -> None:
    if shown.over():
        return
    # From the feed's beginning: what happened between the first answer and now must not be missed.
    async with aclosing(client.events(last_event_id=0, invocation=invocation_id)) as events:
        async for event in events:
            for line in event.log:
                shown.line(line)
            if event.invocation:
                shown.view(event.invocation)
            if shown.over():
                return


class _Shown:
    """What was printed so far; nothing is printed twice, whatever the feed repeats."""

    def __init__(self, as_json: bool, *, only_log: bool = False) -> None:
        self.state = ""
        self._as_json, self._only_log = as_json, only_log
        self._version = self._seq = -1
        self._last = ""

    def over(self) -> bool:
        return self.state in exits.FINAL

    def view(self, view: InvocationView) -> None:
        if view.version <= self._version:
            return
        self._version = view.version
        changed, self.state = view.state != self.state, view.state.value
        if self._only_log:
            return
        if self._as_json:
            render.say_json({"type": "invocation", "invocation": view})
        elif changed and (self._last == "" or self.over()):
            self._say(render.card(view.card))
        else:
            self._say(_brief(view))

    def line(self, line: LogLine) -> None:
        if line.seq <= self._seq:
            return
        self._seq = line.seq
        if self._as_json:
            render.say_json({"type": "log", "line": line})
        else:
            text = one_line(line.text)
            render.say(text if self._only_log else f"  | {text}")

    def note(self, text: str) -> None:
        if not self._as_json:
            render.say(text)

    def _say(self, text: str) -> None:
        # A change of something that is not shown here (a lease, a heartbeat) is not worth a line.
        if text != self._last:
            self._last = text
            render.say(text)


def _brief(view: InvocationView) -> str:
    """One line for a change on the way: the progress if there is one, otherwise what the card says now."""
    card = view.card
    return f"  {render.progress(card.progress)}" if card.progress else f"  {one_line(card.title)}"
