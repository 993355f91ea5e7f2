"""What can be typed about approvals, accounts, tokens, delegations. Refuses to import more than argparse to say so."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

Add = Callable[..., argparse.ArgumentParser]
_SECONDS = {"m": 60, "h": 3600, "d": 86_400}


def people_commands(add: Add, shared: argparse.ArgumentParser, output: argparse.ArgumentParser) -> None:
    waiting = add("approvals", "approvals:approvals", "list what waits for your yes or no", shared, output)
    views = ("waiting", "asked", "decided")
    waiting.add_argument("--view", choices=views, default="waiting", help="or what you asked for, or decided")
    waiting.add_argument("--limit", type=count, default=20, help="how many at most (default 20)")

    reviews = add("reviews", "approvals:reviews", "list broken glass, or close a review", shared, output)
    reviews.add_argument("action", nargs="?", choices=("close",), help="close one, with what you found")
    reviews.add_argument("id", nargs="?", default="", metavar="ID", help="the review's id")
    reviews.add_argument("note", nargs="*", metavar="NOTE", help="what you found")
    reviews.add_argument("--all", action="store_true", help="closed ones too")

    links = add("links", "people:links", "list the chat accounts that are you", shared, output)
    links.add_argument("--person", default="", help="those of somebody else: for members of security")
    unlink = add("unlink", "people:unlink", "make a chat account nobody's", shared)
    unlink.add_argument("identity", metavar="ACCOUNT", help="as `opsgate links` shows it: slack:T0ACME/U0ALICE")

    _tokens(add("tokens", "", "list, make or revoke API tokens"), shared, output)

    delegate = add("delegate", "people:delegate", "let somebody approve in your place for a while", shared, output)
    delegate.add_argument("person", metavar="PERSON", help="their id, such as carol")
    delegate.add_argument("lasts", metavar="DURATION", type=_lasts, help="such as 30m, 8h or 5d; at most 30d")
    delegate.add_argument("reason", metavar="REASON", nargs="+", help="why; others see it")
    add("delegations", "people:delegations", "list whose approvals were handed to whom", shared, output)
    undelegate = add("undelegate", "people:undelegate", "end a delegation", shared)
    undelegate.add_argument("id", metavar="ID", help="as `opsgate delegations` shows it")


def _tokens(tokens: argparse.ArgumentParser, shared: argparse.ArgumentParser, output: argparse.ArgumentParser) -> None:
    actions = tokens.add_subparsers(metavar="ACTION", required=True)

    def action(name: str, summary: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=summary, description=summary, parents=parents, allow_abbrev=False)
        added.set_defaults(run=f"people:tokens_{name}")
        return added

    action("list", "list yours and those of service accounts you own", shared, output)
    make = action("make", "make one; it is printed this once, and nothing else to stdout", shared, output)
    make.add_argument("name", metavar="NAME", help="what it is for")
    make.add_argument("--account", help="a service account you own (default: you)")
    make.add_argument(
        "--scope",
        dest="scopes",
        action="append",
        choices=("read", "write", "destroy"),
        help="an effect it may ask for; may be given again (default: read)",
    )
    make.add_argument("--days", type=count, default=30, help="how long it is good (default 30, at most 365)")
    action("revoke", "end one", shared).add_argument("id", metavar="ID", help="as `opsgate tokens list` shows it")


def count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no count; give one from 1 to 99999")
    return int(text)


def _lasts(text: str) -> int:
    """Seconds."""
    found = re.fullmatch(r"([0-9]{1,4})(m|h|d)", text)
    if not found or int(found[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; give one like 30m, 8h or 5d")
    return int(found[1]) * _SECONDS[found[2]]
