"""The subcommands about the gateway and you: help, whoami, commands, version. Keeps no help text of its own."""

from __future__ import annotations

import argparse

from opsgate import __version__
from opsgate.cli import exits, render
from opsgate.cli.invocations import show_answer
from opsgate.cli.session import online
from opsgate.client import Client
from opsgate.contracts.decisions import Verdict
from opsgate.contracts.invocations import SendMessage


@online
async def help_text(args: argparse.Namespace, client: Client) -> int:
    return show_answer(await client.send_message(SendMessage(text=f"help {args.command}".strip())), args)


@online
async def whoami(args: argparse.Namespace, client: Client) -> int:
    me = await client.whoami()
    if args.json:
        render.say_json(me)
    else:
        facts = (
            ("you are", f"{me.name} ({me.id}), {me.kind}"),
            ("groups", ", ".join(me.groups) or "none"),
            ("known by", me.assurance),
            ("tenant", me.tenant),
        )
        render.say(render.table(facts))
    return exits.OK


@online
async def commands(args: argparse.Namespace, client: Client) -> int:
    catalog = await client.commands()
    if args.json:
        render.say_json({"items": catalog})
    else:
        rows = [(command.usage, command.effect, _MAY[command.may], command.summary) for command in catalog]
        render.say(render.table([("COMMAND", "EFFECT", "YOU MAY", "WHAT IT DOES"), *rows]))
        if not rows:
            render.say("You have no role here yet. Ask your team or security to add you to a group.")
    return exits.OK


_MAY = {Verdict.ALLOW: "yes", Verdict.PENDING: "with approval", Verdict.DENY: "no"}


def version(args: argparse.Namespace) -> int:
    render.say(f"opsgate {__version__}")
    return exits.OK
