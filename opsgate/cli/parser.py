"""What can be typed after `opsgate`, and which function answers it. Refuses to import more than argparse to say so."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

from opsgate import __version__
from opsgate.cli import exits
from opsgate.cli.parser_people import count, people_commands

DEFAULT_URL = "http://127.0.0.1:8420"
STATES = tuple(exits.OF_STATE)


class Tree(NamedTuple):
    """The whole parser, and the parser of each subcommand by name. A parsed line's `run` says who answers it."""

    parser: argparse.ArgumentParser
    commands: dict[str, argparse.ArgumentParser]


def build() -> Tree:
    parser = argparse.ArgumentParser(
        prog="opsgate",
        description="Ask, approve and follow commands at the Opsgate gateway.",
        epilog=exits.TABLE + '\nExample: opsgate run "deploy staging api-service" --as alice --follow',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"opsgate {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    where, shared, output = _where(), _shared(), _output()

    def add(
        name: str, run: str, summary: str, *parents: argparse.ArgumentParser, aliases: tuple[str, ...] = ()
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name, help=summary, description=summary, parents=parents, aliases=aliases, allow_abbrev=False
        )
        added.set_defaults(run=run)
        return added

    _invocation_commands(add, shared, output)
    words = add("help", "about:help_text", "show what can be run, or one command", shared, output)
    words.add_argument("command", nargs="?", default="", help="a command of the catalog")
    login = add("login", "login:login", "sign this terminal in, by your browser; every command uses it then", where)
    login.add_argument("--device", action="store_true", help="show a code to type in a browser on another machine")
    login.add_argument("--no-browser", action="store_true", help="only print the address")
    add("logout", "login:logout", "end this terminal's sign-in", where)
    add("whoami", "about:whoami", "show who the gateway takes you for", shared, output)
    add("commands", "about:commands", "list the catalog and what you may run", shared, output)
    people_commands(add, shared, output)
    _audit_commands(add("audit", "", "export the audit log, or check its chains"), shared, output)
    shell = add("completion", "completion:script", "print a completion script for your shell")
    shell.add_argument("shell", choices=("bash", "zsh", "fish"))
    add("version", "about:version", "show the version of this program")
    return Tree(parser, dict(commands.choices))


def load(target: str) -> Callable[[argparse.Namespace], int]:
    """The function a "module:function" of this package names."""
    module, _, name = target.partition(":")
    function: Callable[[argparse.Namespace], int] = getattr(import_module(f"opsgate.cli.{module}"), name)
    return function


Add = Callable[..., argparse.ArgumentParser]


def _invocation_commands(add: Add, shared: argparse.ArgumentParser, output: argparse.ArgumentParser) -> None:
    run = add(
        "run", "invocations:run", "run a command: it is decided, approved if need be, and carried out", shared, output
    )
    _command_line(run)
    run.add_argument("--reason", default="", help="why, for those who approve and for the audit log")
    run.add_argument("--follow", action="store_true", help="stay until it is over and show what happens")
    run.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="with --follow: stop watching after this long")

    ask = add(
        "ask",
        "invocations:ask",
        "ask whether you may run a command, and why; nothing runs",
        shared,
        output,
        aliases=("why",),
    )
    _command_line(ask)
    ask.add_argument("--for", dest="person", metavar="PERSON", help="ask for another person")

    for name, run_name, summary in (
        ("approve", "invocations:approve", "approve what somebody else asked for"),
        ("reject", "invocations:reject", "reject what somebody asked for"),
        ("withdraw", "invocations:withdraw", "take back your own yes or no"),
        ("cancel", "invocations:cancel", "take back or stop an invocation"),
    ):
        vote = add(name, run_name, summary, shared, output)
        _id(vote)
        if name in ("approve", "reject"):
            vote.add_argument("shown", nargs="?", type=_hash, metavar="HASH", help="the digits the card shows")
        if name == "approve":
            vote.add_argument("--yes", action="store_true", help="do not show it and ask: for scripts")
        vote.add_argument("--reason", default="", required=name == "reject", help="why; others see it")
    _id(add("status", "invocations:status", "show one invocation as it is now", shared, output))

    history = add("history", "invocations:history", "list invocations, newest first", shared, output)
    history.add_argument("--limit", type=count, default=20, help="how many at most (default 20)")
    history.add_argument("--state", choices=STATES, help="only those in this state")
    history.add_argument("--service", default="", help="only those on this service")

    log = add("log", "invocations:log", "print the output of an invocation", shared, output)
    _id(log)
    log.add_argument("--follow", action="store_true", help="stay until it is over")


def _audit_commands(
    audit: argparse.ArgumentParser, shared: argparse.ArgumentParser, output: argparse.ArgumentParser
) -> None:
    actions = audit.add_subparsers(metavar="ACTION", required=True)
    summary = "print the audit log as JSON lines, oldest first"
    export = actions.add_parser("export", help=summary, description=summary, parents=[shared], allow_abbrev=False)
    export.add_argument("--writer", default="", help="only the chain of this gateway process")
    export.set_defaults(run="audit:export")
    summary = "check every chain: a changed byte or a missing row is found and named"
    verify = actions.add_parser(
        "verify", help=summary, description=summary, parents=[shared, output], allow_abbrev=False
    )
    verify.add_argument(
        "file", nargs="?", metavar="FILE", help="JSON lines, - for stdin; without it, the gateway is read"
    )
    verify.set_defaults(run="audit:verify")


def _command_line(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words",
        nargs="+",
        metavar="WORD",
        help='the command line, quoted ("deploy staging api-service --version 1.4.2") or as words (version=1.4.2)',
    )


def _id(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="the invocation's id, as cards and `opsgate history` show it")


def default_url() -> str:
    return os.environ.get("OPSGATE_URL") or DEFAULT_URL


def default_token() -> str:
    return os.environ.get("OPSGATE_TOKEN", "")


def _where() -> argparse.ArgumentParser:
    where = argparse.ArgumentParser(add_help=False)
    _gateway(where)
    return where


def _gateway(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    group = parser.add_argument_group("gateway")
    group.add_argument("--url", default=default_url(), help=f"where it is (default: OPSGATE_URL, or {DEFAULT_URL})")
    return group


def _shared() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    group = _gateway(shared)
    who = group.add_mutually_exclusive_group()
    who.add_argument("--token", default=default_token(), help="your token (default: OPSGATE_TOKEN, or `opsgate login`)")
    who.add_argument("--as", dest="persona", metavar="PERSONA", help="be alice, bob, ...: development gateways only")
    return shared


def _output() -> argparse.ArgumentParser:
    output = argparse.ArgumentParser(add_help=False)
    output.add_argument("--json", action="store_true", help="print JSON: one document, or with --follow one a line")
    return output


def _hash(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{8,64}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no hash; give the eight digits that the card shows, or nothing")
    return text


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,3})?", text) or float(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds; give one like 90 or 0.5")
    return float(text)
