"""`python -m gateway` runs the gateway, `… migrate` mends the schema, `… check` reads the files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import uvicorn
from pydantic import ValidationError

from gateway.domain.arguments import parse
from gateway.domain.errors import Mistake
from gateway.infra.files import BadFiles, load_catalog, load_directory
from gateway.infra.store import migrate
from gateway.infra.telemetry import set_up_logs
from gateway.main import create_app
from gateway.settings import ROOT, Settings, explain
from gateway.wiring import CannotStart


def main(arguments: list[str]) -> int:
    if arguments == ["migrate"]:
        url = os.environ.get("OPSGATE_DATABASE_URL", "")
        if not url:
            print("Set OPSGATE_DATABASE_URL to the database, with the user that owns it.", file=sys.stderr)
            return 2
        migrate.upgrade(url, os.environ.get("OPSGATE_DATABASE_ROLE", ""))
        return 0
    if arguments == ["check"]:
        return check()
    try:
        settings = Settings()
        set_up_logs(settings.log_level)
        app = create_app(settings)
    except ValidationError as error:
        print(explain(error), file=sys.stderr)
        return 2
    except BadFiles as bad:
        print("Opsgate cannot start, its files are not right:\n  " + "\n  ".join(bad.problems), file=sys.stderr)
        return 2
    except CannotStart as problem:
        print(f"Opsgate cannot start. {problem}", file=sys.stderr)
        return 2
    uvicorn.run(app, host=settings.host, port=settings.port, log_config=None, access_log=False, server_header=False)
    return 0


def check() -> int:
    """Reads the command files and the directory as a gateway would; prints every problem, or what was found."""
    folder = Path(os.environ.get("OPSGATE_COMMANDS_DIR", ROOT / "commands"))
    people = Path(os.environ.get("OPSGATE_DIRECTORY_FILE", ROOT / "examples" / "acme" / "directory.yaml"))
    try:
        directory, catalog = load_directory(people), load_catalog(folder)
        for command in catalog.commands:
            for example in command.examples:
                parse(example, catalog, directory)
    except BadFiles as bad:
        print("\n".join(bad.problems), file=sys.stderr)
        return 1
    except Mistake as mistake:
        print(f"An example does not parse: {mistake.detail}", file=sys.stderr)
        return 1
    for command in catalog.commands:
        print(f"{command.name:12} {command.effect.value:8} {command.operation:22} {command.usage()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
