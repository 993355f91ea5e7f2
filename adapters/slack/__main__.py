"""`python -m adapters.slack`: the adapter as a process. Refuses to start with settings missing or wrong."""

from __future__ import annotations

import logging

import structlog
import uvicorn

from adapters.slack.app import create_app
from adapters.slack.settings import load


def log_as_json(level: str) -> None:
    """One JSON object a line on stderr, with the Invocation and the trace that a line is about."""
    before: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(allow=("invocation", "trace_id")),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=before,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()],
    )
    out = logging.StreamHandler()
    out.setFormatter(formatter)
    logging.basicConfig(handlers=[out], level=level, force=True)


def main() -> None:
    settings = load()
    log_as_json(settings.log_level)
    uvicorn.run(create_app(settings), host=settings.host, port=settings.port, log_config=None, access_log=False)


if __name__ == "__main__":
    main()
