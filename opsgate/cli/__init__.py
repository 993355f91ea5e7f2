"""The `opsgate` command line: the same door as chat, for terminals and scripts.

Refuses tracebacks: trouble is one line on stderr that says what to do, and an exit code of `opsgate.cli.exits`.
Loads nothing but argparse until it knows what was asked.
"""

from __future__ import annotations

import os
import sys

from opsgate.cli import exits
from opsgate.cli.parser import build, load


def main(argv: list[str] | None = None) -> int:
    """Runs one command line (default: the process's) and gives back its exit code."""
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["__complete"]:
        from opsgate.cli.completion import complete

        return complete(words[1:])
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a sign shows its number; it never ends the program.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    try:
        code = _run(words)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read us has enough (`| head`). Nothing more to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.PIPE_CLOSED
    except KeyboardInterrupt:
        return exits.INTERRUPTED


def _run(words: list[str]) -> int:
    if any(map(_undecodable, words)):
        return _complain("The command line is not in UTF-8. Type it again, or set a UTF-8 locale.", exits.MISTAKE)
    try:
        args = build().parser.parse_args(words)
    except SystemExit as end:
        return int(end.code or 0)
    try:
        return load(args.run)(args)
    except BrokenPipeError:
        raise
    except Exception as error:  # The last resort: whatever it is, people get one line.
        from opsgate.cli.trouble import told

        if os.environ.get("OPSGATE_DEBUG"):
            raise
        return _complain(*told(error, as_json=getattr(args, "json", False)))


def _undecodable(word: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in word)


def _complain(line: str, code: int) -> int:
    print(f"opsgate: {line}", file=sys.stderr)
    return code
