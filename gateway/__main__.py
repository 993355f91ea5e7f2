"""`python -m gateway` runs the gateway; `python -m gateway migrate` brings the database to this version's schema."""

from __future__ import annotations

import os
import sys

import uvicorn
from pydantic import ValidationError

from gateway.infra.files import BadFiles
from gateway.infra.store import migrate
from gateway.infra.telemetry import set_up_logs
from gateway.main import create_app
from gateway.settings import Settings, explain
from gateway.wiring import CannotStart


def main(arguments: list[str]) -> int:
    if arguments == ["migrate"]:
        url = os.environ.get("OPSGATE_DATABASE_URL", "")
        if not url:
            print("Set OPSGATE_DATABASE_URL to the database, with the user that owns it.", file=sys.stderr)
            return 2
        migrate.upgrade(url, os.environ.get("OPSGATE_DATABASE_ROLE", ""))
        return 0
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
