"""`python -m workers [celery worker options]`: a worker as a program. Refuses to start with wrong settings."""

from __future__ import annotations

import sys

from pydantic import ValidationError

from workers.app import run
from workers.connectors import ConnectorsWrong
from workers.settings import WorkerSettings


def main() -> None:
    try:
        run(WorkerSettings(), sys.argv[1:])
    except ValidationError as error:
        lines = [f"  OPSGATE_{'_'.join(map(str, each['loc'])).upper()}: {each['msg']}" for each in error.errors()]
        sys.exit("\n".join(["Set these in the environment of the worker:", *lines]))
    except ConnectorsWrong as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
