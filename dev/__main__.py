"""`python -m dev` (make dev): the embedded profile, until Ctrl-C. Prints one line when it is ready.

Refuses to fill the terminal: logs go to files in the data folder.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn, TextIO

import httpx2
from pydantic import ValidationError

from dev.embedded import ROOT, DataInUse, Embedded, Layout, PortTaken
from dev.identity import NoProvider
from dev.opa import NoOpa
from dev.policies import BrokenPolicy
from dev.processes import ChildFailed
from gateway.infra.files import BadFiles
from gateway.settings import explain
from gateway.wiring import CannotStart


def port_of(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 2**16):
        raise argparse.ArgumentTypeError(f"{text!r} is no port (OPSGATE_PORT or --port); give a number up to 65535")
    return int(text)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dev", description=__doc__.splitlines()[0])
    port = os.environ.get("OPSGATE_PORT", "8420")
    parser.add_argument("--port", type=port_of, default=port, help="0 takes a free one (default: OPSGATE_PORT or 8420)")
    parser.add_argument("--data", type=Path, default=ROOT / ".opsgate", help="where everything is kept")
    parser.add_argument("--policies", type=Path, default=Layout.policies)
    parser.add_argument("--commands", type=Path, default=Layout.commands)
    parser.add_argument("--directory", type=Path, default=Layout.directory, help="YAML file of people and services")
    parser.add_argument("--oidc", action="store_true", help="with an identity provider to sign in at")
    parser.add_argument("--rollout-seconds", type=float, default=Layout.rollout_s, help="how long the fleet's take")
    parser.add_argument("--ready-file", type=Path, help="written when ready: JSON with addresses and process ids")
    return parser.parse_args()


def interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def redirect(log: Path) -> TextIO:
    """Send everything this process prints to `log`; gives the terminal for the few lines meant for a person."""
    terminal = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())
    return terminal


def greet(house: Embedded, terminal: TextIO, ready_file: Path | None) -> None:
    """The ready line, who one can be, and a first command."""
    missing = house.waiting_for()
    if missing:
        terminal.write(f"Opsgate runs, but is not ready. {missing}\n")
        return
    people = httpx2.get(f"{house.url}/v1/dev/personas", trust_env=False).json()
    who = "\n".join(f"  {person['name']:<8} {person['title']}" for person in people)
    terminal.write(
        f"Opsgate is ready at {house.url}\n\nYou can be:\n{who}\n\n"
        "Open the page, be Alice, and type:  /ops deploy production api-service --version 1.4.2\n"
        "Then be Bob and approve it. Ctrl-C stops everything.\n"
    )
    if house.provider is not None:
        terminal.write(f"Or sign in as one of them: {house.url}/login, or opsgate login --url {house.url}\n")
    if ready_file:
        facts = {
            "url": house.url,
            "pid": os.getpid(),
            "opa_url": house.opa.url,
            "opa_pid": house.opa.child.process.pid,
            "sandbox_url": house.sandbox_url,
            "sandbox_pid": house.sandbox.process.pid,
            "worker_token": house.worker_token(),
            "policy_status_file": str(house.opa.status_file),
        }
        half = ready_file.with_suffix(".half")
        half.touch(mode=0o600)
        half.write_text(json.dumps(facts))
        half.replace(ready_file)


def main() -> int:
    options = parse()
    signal.signal(signal.SIGTERM, interrupt)
    files = (options.policies, options.commands, options.directory)
    layout = Layout(options.data.resolve(), *files, options.rollout_seconds)
    terminal = redirect(layout.data / "gateway.log")
    try:
        with Embedded(layout, options.port, oidc=options.oidc) as house:
            try:
                house.serve(lambda: greet(house, terminal, options.ready_file))
            finally:
                # From here on only stopping counts: a second Ctrl-C must not leave children behind.
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
    except KeyboardInterrupt:
        terminal.write("\nStopped.\n")
    except (DataInUse, PortTaken, NoOpa, NoProvider, ChildFailed, CannotStart) as trouble:
        terminal.write(f"{trouble}\n")
        return 1
    except ValidationError as trouble:
        terminal.write(explain(trouble) + "\n")
        return 1
    except (BrokenPolicy, BadFiles) as trouble:
        terminal.write(f"Nothing was started, for a file is broken. Mend it and try again:\n{trouble}\n")
        return 1
    except Exception as trouble:
        terminal.write(f"Opsgate did not start: {trouble}\nMore in {layout.data / 'gateway.log'}\n")
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
