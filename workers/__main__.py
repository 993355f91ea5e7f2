"""`python -m workers [celery worker options]`: a worker as a program. `offers` lists what it would offer instead.

Refuses to start with wrong settings.
"""

from __future__ import annotations

import os
import sys

from pydantic import ValidationError

from workers.app import run
from workers.connectors import ConnectorsWrong, load
from workers.settings import WorkerSettings


def main() -> None:
    try:
        if sys.argv[1:] == ["offers"]:
            offers()
            return
        run(WorkerSettings(), sys.argv[1:])
    except ValidationError as error:
        lines = [f"  OPSGATE_{'_'.join(map(str, each['loc'])).upper()}: {each['msg']}" for each in error.errors()]
        sys.exit("\n".join(["Set these in the environment of the worker:", *lines]))
    except ConnectorsWrong as error:
        sys.exit(str(error))


def offers() -> None:
    """Prints the operations of the connectors named in OPSGATE_CONNECTORS. Needs no gateway and no broker."""
    names = os.environ.get("OPSGATE_CONNECTORS", "sandbox")
    for operation in load(filter(None, (n.strip() for n in names.split(","))), os.environ).values():
        print(f"{operation.name:24} {operation.summary}")


if __name__ == "__main__":
    main()
