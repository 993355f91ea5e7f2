"""The subcommands about the audit log. Refuses to trust what it reads: `opsgate.audit` computes every hash anew."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from opsgate.audit import Chain, Report, Verifier, read_jsonl
from opsgate.audit import verify as verify_records
from opsgate.cli import exits, render
from opsgate.cli.session import connect, online
from opsgate.cli.text import one_line
from opsgate.client import Client


@online
async def export(args: argparse.Namespace, client: Client) -> int:
    async for record in client.audit(writer=args.writer):
        render.say_json(record)
    return exits.OK


def verify(args: argparse.Namespace) -> int:
    if args.file is None:
        report = asyncio.run(_verify_gateway(args))
    elif args.file == "-":
        report = verify_records(read_jsonl(sys.stdin.buffer))
    else:
        with Path(args.file).open("rb") as file:
            report = verify_records(read_jsonl(file))
    if args.json:
        render.say_json(report.as_json())
    else:
        render.say(_told(report))
    return exits.OK if report.ok and report.count else exits.FAILED


async def _verify_gateway(args: argparse.Namespace) -> Report:
    verifier = Verifier()
    async with connect(args) as client:
        async for record in client.audit():
            verifier.add(record)
    return verifier.report()


def _told(report: Report) -> str:
    out = [_chain(chain) for chain in report.chains]
    out += [f"line {bad.line}: BAD    {one_line(bad.why)}" for bad in report.bad_lines]
    if not report.count:
        return "\n".join([*out, "There is no audit record in it: nothing was verified. Check the file."])
    if report.ok:
        return "\n".join([*out, f"The audit log holds. Records: {report.count}, chains: {len(report.chains)}."])
    return "\n".join(
        [*out, "THE AUDIT LOG DOES NOT HOLD. Keep this copy, compare it with the other sink, and tell security."]
    )


def _chain(chain: Chain) -> str:
    name = one_line(chain.writer)
    if chain.broken is None:
        return f"{name}: ok     {chain.count} records, head {chain.last_seq} {chain.head}"
    broken = chain.broken
    why = broken.why.replace("_", " ")
    return f"{name}: BROKEN at {name}/{broken.seq} (record {broken.record}): {why}: {one_line(broken.text)}"
