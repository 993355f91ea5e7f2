"""The subcommands about invocations: run, ask, vote, cancel, look. Refuses to decide anything: the gateway did."""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import aclosing
from typing import Literal

from opsgate.cli import exits, render
from opsgate.cli.follow import follow, follow_log
from opsgate.cli.session import online
from opsgate.cli.text import one_line
from opsgate.client import Client
from opsgate.contracts.commands import AskDecision
from opsgate.contracts.invocations import Answer, CancelInvocation, CastVote, InvocationView, State, SubmitInvocation
from opsgate.errors import Mistake


@online
async def run(args: argparse.Namespace, client: Client) -> int:
    view = await client.submit(SubmitInvocation(text=command_line(args.words), reason=args.reason))
    if args.follow:
        return await follow(client, view, as_json=args.json, timeout_s=args.timeout)
    _show(view, args)
    return exits.OF_STATE[view.state]


@online
async def ask(args: argparse.Namespace, client: Client) -> int:
    answer = await client.decide(AskDecision(text=command_line(args.words), as_person=args.person))
    if args.json:
        render.say_json(answer)
    else:
        render.say(render.card(render.what_if(answer)))
    return exits.OF_VERDICT[answer.decision.effect]


@online
async def approve(args: argparse.Namespace, client: Client) -> int:
    seen = await _seen(args, client)
    if not (args.shown or args.yes) and not await _agreed(args, seen):
        render.say("Nothing was sent.")
        return exits.STOPPED
    return await _vote(args, client, seen, "approve")


@online
async def reject(args: argparse.Namespace, client: Client) -> int:
    return await _vote(args, client, await _seen(args, client), "reject")


@online
async def withdraw(args: argparse.Namespace, client: Client) -> int:
    return await _vote(args, client, await client.invocation(args.id), "withdraw")


@online
async def cancel(args: argparse.Namespace, client: Client) -> int:
    return show_answer(await client.cancel(args.id, CancelInvocation(reason=args.reason)), args)


@online
async def status(args: argparse.Namespace, client: Client) -> int:
    _show(await client.invocation(args.id), args)
    return exits.OK


@online
async def history(args: argparse.Namespace, client: Client) -> int:
    views: list[InvocationView] = []
    state = State(args.state) if args.state else None
    pages = client.invocations(state=state, service=args.service, page_size=min(args.limit, 50))
    async with aclosing(pages):
        async for view in pages:
            views.append(view)
            if len(views) >= args.limit:
                break
    if args.json:
        render.say_json({"items": views})
    elif views:
        rows = [(v.id, render.clock(v.created_at), v.state, v.requested_by.name, v.text) for v in views]
        render.say(render.table([("ID", "ASKED", "STATE", "BY", "COMMAND"), *rows]))
    else:
        render.say("Nothing yet. `opsgate commands` lists what can be run.")
    return exits.OK


@online
async def log(args: argparse.Namespace, client: Client) -> int:
    if args.follow:
        return await follow_log(client, args.id, as_json=args.json)
    lines = [line async for line in client.log(args.id)]
    if args.json:
        render.say_json({"items": lines})
    else:
        for line in lines:
            render.say(one_line(line.text))
    return exits.OK


def command_line(words: list[str]) -> str:
    """One word is the line as it is. Several were split by the shell: what had blanks or quotes gets quotes again."""
    return words[0] if len(words) == 1 else " ".join(map(_quoted, words))


def show_answer(answer: Answer, args: argparse.Namespace) -> int:
    if args.json:
        render.say_json(answer)
    else:
        render.say(render.card(answer.card))
    return exits.OF_ANSWER.get(answer.kind, exits.OK)


async def _seen(args: argparse.Namespace, client: Client) -> InvocationView:
    """What stands there now, and is what was on the screen if the person typed the hash of that."""
    found = await client.invocation(args.id)
    if args.shown and found.binding_hash.removeprefix("sha256:")[: len(args.shown)] != args.shown:
        raise Mistake(f"What waits is not what you saw any more. Look again: opsgate status {args.id}")
    return found


async def _agreed(args: argparse.Namespace, seen: InvocationView) -> bool:
    """Shows it and asks. Raises Mistake where nobody can be asked."""
    if args.json or not sys.stdin.isatty():
        words = f"Nobody can be asked here. Look at it with `opsgate status {args.id}`, then approve with --yes."
        raise Mistake(words)
    render.say(render.card(seen.card))
    print("Approve exactly this? [y/N] ", end="", file=sys.stderr, flush=True)
    said = await asyncio.to_thread(sys.stdin.readline)
    return said.strip().lower() in ("y", "yes")


async def _vote(
    args: argparse.Namespace, client: Client, seen: InvocationView, verdict: Literal["approve", "reject", "withdraw"]
) -> int:
    # The hash of what was shown: if it changes before the vote arrives, the gateway refuses the vote.
    vote = CastVote(verdict=verdict, binding_hash=seen.binding_hash, reason=args.reason)
    return show_answer(await client.vote(args.id, vote), args)


def _show(view: InvocationView, args: argparse.Namespace) -> None:
    if args.json:
        render.say_json(view)
    else:
        render.say(render.card(view.card))


def _quoted(word: str) -> str:
    name, equals, value = word.partition("=")
    if equals and name.isidentifier():
        return f"{name}={_quoted_text(value)}"
    return _quoted_text(word)


def _quoted_text(text: str) -> str:
    if text and not any(char.isspace() or char in "\"'\\" for char in text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
