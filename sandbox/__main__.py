"""`python -m sandbox --port P --data FILE`: serves the practice fleet on loopback only."""

from __future__ import annotations

import argparse
import socket
import time
from pathlib import Path

import uvicorn

from sandbox.api import make_app
from sandbox.fleet import Fleet
from sandbox.store import Store

HOST = "127.0.0.1"


class Server(uvicorn.Server):
    """Says on one line that it is ready, and where."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or []:
            print(f"The practice fleet is ready at http://{HOST}:{listening.getsockname()[1]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=8421, help="0 picks a free one (default: 8421)")
    parser.add_argument("--data", type=Path, default=Path(".opsgate/sandbox.sqlite"), help="its SQLite file")
    parser.add_argument("--rollout-seconds", type=float, default=3.0, help="how long a rollout takes (default: 3)")
    options = parser.parse_args()
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, options.port))
    except OSError as error:
        parser.exit(2, f"Port {options.port} cannot be used ({error.strerror}); give another with --port.\n")
    store = Store(options.data, time.time())
    app = make_app(Fleet(store, options.rollout_seconds))
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    try:
        Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        parser.exit(130)
    finally:
        store.close()


if __name__ == "__main__":
    main()
