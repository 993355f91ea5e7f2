"""Completion for bash, zsh and fish: the scripts, and the hidden `opsgate __complete` they call.

Refuses to print an error, to wait longer than a second for the gateway, or to offer a word that is not plain text to a
shell.
"""

from __future__ import annotations

import argparse
import os
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from opsgate.cli import exits
from opsgate.cli.parser import build, default_token, default_url

if TYPE_CHECKING:
    from opsgate.contracts.commands import CommandView

LIMIT_S = 1.0

# Names come from the gateway and land on somebody's command line.
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,:@/+=-]*|--?[a-z][a-z-]*")
_TAKES_VALUE = frozenset(
    {"--url", "--token", "--as", "--reason", "--timeout", "--for", "--view", "--scope", "--days", "--account"}
)
_WORDS = {
    "completion": ("bash", "zsh", "fish"),
    "audit": ("export", "verify"),
    "tokens": ("list", "make", "revoke"),
    "reviews": ("close",),
}
_MARKS = {"pending": "\tneeds approval", "deny": "\tnot allowed"}

_BASH = """\
# opsgate: bash completion. Try it: source <(opsgate completion bash)
_opsgate() {
    local line typed="${COMP_LINE:0:COMP_POINT}"
    typed="${typed##*[[:space:]]}"
    COMPREPLY=()
    while IFS=$'\\t' read -r line _; do
        [[ $line == *= ]] && compopt -o nospace 2>/dev/null
        # bash takes name=value for two words and replaces only the second.
        [[ $typed == *=* ]] && line="${line#"${typed%%=*}="}"
        COMPREPLY+=("$line")
    done < <("$1" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _opsgate opsgate
"""
_ZSH = """\
#compdef opsgate
# opsgate: zsh completion. Try it: source <(opsgate completion zsh)
_opsgate() {
    local -a found plain shown
    found=("${(@f)$(opsgate __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    compadd -S '' -- ${(M)found:#*=}
    shown=(${found:#*=})
    plain=("${(@)shown%%$'\\t'*}")
    shown=("${(@)shown/$'\\t'/  -- }")
    compadd -d shown -- $plain
    (( compstate[nmatches] ))
}
compdef _opsgate opsgate
"""
_FISH = """\
# opsgate: fish completion. Try it: opsgate completion fish | source
complete -c opsgate -f -a '(opsgate __complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
"""


def script(args: argparse.Namespace) -> int:
    print({"bash": _BASH, "zsh": _ZSH, "fish": _FISH}[args.shell], end="")
    return exits.OK


def complete(words: list[str]) -> int:
    """`words`: what was typed after `opsgate`, the last one being completed (maybe empty).

    One candidate a line; after a tab, that it needs approval or is not allowed.
    """
    try:
        typed = _joined(words) or [""]
        for found in dict.fromkeys(_candidates(typed[:-1], typed[-1])):
            word = found.partition("\t")[0]
            if word.startswith(typed[-1]) and _PLAIN.fullmatch(word):
                print(found)
    except Exception:  # A prompt is no place for an error.
        pass
    return exits.OK


def _joined(words: list[str]) -> list[str]:
    """bash hands over `name=value` as three words; here they are one again."""
    out: list[str] = []
    for word in words:
        if out and (word.startswith("=") or out[-1].endswith("=")):
            out[-1] += word
        else:
            out.append(word)
    return out


def _candidates(before: list[str], current: str) -> Iterable[str]:
    tree = build()
    if not before:
        return [*tree.commands, "--help", "--version"]
    subcommand, (words, options) = before[0], _options(before[1:])
    if subcommand not in tree.commands or before[-1] in _TAKES_VALUE:
        return []
    if current.startswith("-"):
        return re.findall(r"--[a-z]+", tree.commands[subcommand].format_help())
    if subcommand in _WORDS:
        return [] if words else _WORDS[subcommand]
    if subcommand in ("run", "ask", "why", "help"):
        catalog = _catalog(options)
        if not words:
            # One may ask about what one may not run.
            return [_marked(c.name, c.may) for c in catalog if c.may != "deny" or subcommand != "run"]
        if subcommand != "help":
            return _arguments(catalog, words, current)
    return []


def _marked(word: str, may: str | None) -> str:
    return word + _MARKS.get(may or "", "")


def _options(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """What is typed so far without its options, and those options that take a value."""
    plain: list[str] = []
    options: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name in _TAKES_VALUE:
            options[name] = value if equals else next(rest, "")
        elif not word.startswith("-"):
            plain.append(word)
    return plain, options


def _catalog(options: dict[str, str]) -> tuple[CommandView, ...]:
    import asyncio

    from opsgate.cli.session import connect

    async def fetch() -> tuple[CommandView, ...]:
        async with connect(
            argparse.Namespace(
                url=options.get("--url", default_url()),
                token=options.get("--token", default_token()),
                persona=options.get("--as"),
            )
        ) as client:
            return await client.commands()

    # A timer that ends the process, for nothing else also stops a name server that does not answer.
    limit = threading.Timer(LIMIT_S, os._exit, (exits.OK,))
    limit.daemon = True
    limit.start()
    try:
        return asyncio.run(fetch())
    finally:
        limit.cancel()


def _arguments(catalog: Sequence[CommandView], words: list[str], current: str) -> Iterator[str]:
    command = next((c for c in catalog if words[0] == c.name or words[0] in c.aliases), None)
    params, targets = (command.params, command.targets) if command else ((), {})
    named = {word.partition("=")[0] for word in words[1:] if "=" in word}
    by_place = sum("=" not in word for word in words[1:])
    open_params = [param for param in params if param.name not in named][by_place:]
    name, equals, _ = current.partition("=")
    if equals:
        choices = (choice for param in params if param.name == name for choice in param.choices)
        yield from (_marked(f"{name}={choice}", targets.get(choice)) for choice in choices)
        return
    if open_params:
        yield from (_marked(choice, targets.get(choice)) for choice in open_params[0].choices)
    yield from (f"{param.name}=" for param in open_params)
