"""The subcommands about what waits for you and about broken glass. Refuses to decide who may: the gateway does."""

from __future__ import annotations

import argparse
from contextlib import aclosing

from opsgate.cli import exits, render
from opsgate.cli.session import online
from opsgate.client import Client
from opsgate.contracts.invocations import InvocationView
from opsgate.contracts.people import CloseReview
from opsgate.errors import Mistake

_NONE = {
    "waiting": "Nothing waits for you.",
    "asked": "You asked for no change yet.",
    "decided": "You decided nothing yet.",
}


@online
async def approvals(args: argparse.Namespace, client: Client) -> int:
    views: list[InvocationView] = []
    async with aclosing(client.approvals(args.view, page_size=min(args.limit, 50))) as pages:
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
        render.say(_NONE[args.view])
    return exits.OK


@online
async def reviews(args: argparse.Namespace, client: Client) -> int:
    if args.action == "close":
        return await _close(args, client)
    found = await client.reviews(open_only=not args.all)
    if args.json:
        render.say_json({"items": found})
    elif found:
        rows = [
            (r.id, r.person, r.invocation_id, f"closed by {r.closed_by}" if r.closed_at else render.clock(r.due_at))
            for r in found
        ]
        render.say(render.table([("ID", "WHO", "WHAT", "DUE"), *rows]))
    else:
        render.say("Every use of broken glass was reviewed.")
    return exits.OK


async def _close(args: argparse.Namespace, client: Client) -> int:
    if not args.id or not args.note:
        raise Mistake("Say which one and what you found: opsgate reviews close ID NOTE")
    closed = await client.close_review(args.id, CloseReview(note=" ".join(args.note)))
    if args.json:
        render.say_json(closed)
    else:
        render.say(f"{args.id} is closed, and on record with your name.")
    return exits.OK
