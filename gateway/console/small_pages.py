"""The small pages around the chat room: signing in, letting a terminal in, approving by a step-up link.

Refuses scripts: they are read, filled in and sent, in any browser. What they say comes from `gateway.api`.
"""

from __future__ import annotations

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gateway.console.pages import HEADERS, HERE, build_of, read_assets

CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'self'"
)


class SmallPages:
    """Templates by name, each with the house's colours and headers."""

    def __init__(self) -> None:
        self._files = f"/console/static/{build_of(read_assets(HERE / 'static'))}"
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined
        )

    def show(self, page: str, *, status: int = 200, leads_to: str = "", **facts: object) -> HTMLResponse:
        """A page. `leads_to`: another origin its form may end up at."""
        headers = {
            **HEADERS,
            "Content-Security-Policy": f"{CSP} {leads_to}".strip(),
            # Not `no-referrer`: with it a browser hides where a form comes from, from us too.
            "Referrer-Policy": "same-origin",
            "Cache-Control": "no-store",
        }
        text = self._templates.get_template(f"{page}.html").render(files=self._files, **facts)
        return HTMLResponse(text, status, headers)
