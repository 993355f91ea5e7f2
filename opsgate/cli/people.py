"""The subcommands about accounts, tokens and delegations. Refuses to keep a token: it is printed once, for you."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from opsgate.cli import exits, render
from opsgate.cli.session import online
from opsgate.cli.text import one_line
from opsgate.client import Client
from opsgate.contracts.base import Contract
from opsgate.contracts.people import NewDelegation, NewToken


@online
async def links(args: argparse.Namespace, client: Client) -> int:
    found = await client.links(person=args.person)
    rows = [(a.identity, render.clock(a.linked_at) if a.linked_at else "by the directory") for a in found]
    return _listed(args, found, ("ACCOUNT", "LINKED"), rows, "No chat account is linked.")


@online
async def unlink(args: argparse.Namespace, client: Client) -> int:
    await client.unlink(args.identity)
    render.say("Unlinked: what is typed there is nobody's from now on.")
    return exits.OK


@online
async def tokens_list(args: argparse.Namespace, client: Client) -> int:
    found = await client.tokens()
    now = datetime.now(UTC)
    rows = [
        (
            t.id,
            t.name,
            t.account,
            ",".join(t.scopes),
            "revoked" if t.revoked_at else "over" if t.expires_at <= now else render.clock(t.expires_at),
            render.clock(t.last_used_at) if t.last_used_at else "never",
        )
        for t in found
    ]
    heads = ("ID", "NAME", "FOR", "MAY", "GOOD UNTIL", "LAST USED")
    return _listed(args, found, heads, rows, "No API tokens. `opsgate tokens make NAME` makes one.")


@online
async def tokens_make(args: argparse.Namespace, client: Client) -> int:
    wish = NewToken(
        name=args.name, account=args.account, scopes=tuple(args.scopes or ("read",)), expires_in_days=args.days
    )
    made = await client.make_token(wish)
    if args.json:
        render.say_json(made)
        return exits.OK
    held = made.credential
    note = f"{held.id} for {held.account} ({', '.join(held.scopes)}). It is shown this once: keep it where secrets are."
    print(one_line(note), file=sys.stderr)
    render.say(one_line(made.token))
    return exits.OK


@online
async def tokens_revoke(args: argparse.Namespace, client: Client) -> int:
    await client.revoke_token(args.id)
    render.say("Revoked: it is good for nothing from now on.")
    return exits.OK


@online
async def delegate(args: argparse.Namespace, client: Client) -> int:
    until = datetime.now(UTC) + timedelta(seconds=args.lasts)
    made = await client.delegate(NewDelegation(to=args.person, until=until, reason=" ".join(args.reason)))
    if args.json:
        render.say_json(made)
    else:
        until_words = render.clock(made.until)
        render.say(
            f"{made.taker} may approve in your place until {until_words}. To end it: opsgate undelegate {made.id}"
        )
    return exits.OK


@online
async def delegations(args: argparse.Namespace, client: Client) -> int:
    found = await client.delegations()
    rows = [
        (d.id, d.giver, d.taker, f"ended {render.clock(d.ended_at)}" if d.ended_at else render.clock(d.until), d.reason)
        for d in found
    ]
    return _listed(args, found, ("ID", "FROM", "TO", "UNTIL", "WHY"), rows, "No approvals were handed on.")


@online
async def undelegate(args: argparse.Namespace, client: Client) -> int:
    await client.end_delegation(args.id)
    render.say("Ended: votes cast by it do not count any more.")
    return exits.OK


def _listed(
    args: argparse.Namespace,
    found: Sequence[Contract],
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    otherwise: str,
) -> int:
    if args.json:
        render.say_json({"items": list(found)})
    else:
        render.say(render.table([heads, *rows]) if rows else otherwise)
    return exits.OK
