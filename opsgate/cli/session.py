"""Runs one subcommand with a Client at hand, as the person the options name. Refuses to guess who somebody is."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

from opsgate import tokens
from opsgate.client import Client
from opsgate.contracts.problems import Code
from opsgate.errors import GatewayRefused, Mistake

Subcommand = Callable[[argparse.Namespace, Client], Coroutine[Any, Any, int]]


def online(subcommand: Subcommand) -> Callable[[argparse.Namespace], int]:
    """`subcommand` as a plain function of the parsed line."""

    @wraps(subcommand)
    def run(args: argparse.Namespace) -> int:
        return asyncio.run(connected(args))

    async def connected(args: argparse.Namespace) -> int:
        async with connect(args) as client:
            return await subcommand(args, client)

    return run


@asynccontextmanager
async def connect(args: argparse.Namespace) -> AsyncIterator[Client]:
    """A Client for `--url`, with `--token`, the token of the persona in `--as`, or that of `opsgate login`."""
    async with Client(args.url, await _token(args)) as client:
        yield client


async def _token(args: argparse.Namespace) -> str:
    if not args.persona:
        if args.token:
            return str(args.token)
        kept = tokens.find(args.url)
        if kept is None:
            words = (
                "Say who you are: run `opsgate login`, set OPSGATE_TOKEN, or give --as alice on a development gateway."
            )
            raise Mistake(words)
        return kept.token
    async with Client(args.url, "") as nobody:
        try:
            return (await nobody.persona_token(args.persona)).token
        except GatewayRefused as refused:
            if refused.problem.code is not Code.NOT_FOUND:
                raise
            raise Mistake(
                f"This gateway has no persona {args.persona!r}. Personas (alice, bob, carol, dave) exist on a "
                "development gateway only; elsewhere set OPSGATE_TOKEN."
            ) from refused
