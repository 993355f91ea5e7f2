"""The pages of the console and the files they are made of.

Refuses to decide or to know anything: in the browser the page is one more client of the REST API.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

HERE = Path(__file__).parent
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
CHANNELS = ("deployments", "payments", "incidents")
SECTIONS = (
    ("waiting", "Waits for you", "Nothing waits for you. What others ask of your groups appears here by itself."),
    ("reviews", "To be reviewed", "Every use of broken glass was reviewed."),
    ("asked", "You asked", "You asked for nothing yet. Type a command in the chat room."),
    ("decided", "Decided by you", "You have not decided anything yet."),
)
"""The lists of the approvals page: key, heading, and what is said when there is nothing."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
ENTRIES = frozenset({"theme.js", "main.js", "approvals.js"})
"""Scripts that a page names itself; the others are modules they import."""
UNTIL_NEW_BUILD = "public, max-age=31536000, immutable"
ALWAYS_ASK = "no-cache"


@dataclass(frozen=True)
class Asset:
    """One file the page loads."""

    body: bytes
    media_type: str


def console_router(profile: str) -> APIRouter:
    """Routes `GET /` (the chat room), `GET /approvals`, and `GET /console/static/{build}/{name}` (their files).

    `profile`: `embedded` shows the practice room's personas, anything else asks for an access token.
    `build` is a hash over all files, so that a browser may keep them for good and modules can import each other by
    plain relative names. An older build's address gets today's files, uncached. Unknown names: 404.
    """
    assets = read_assets(HERE / "static")
    build = build_of(assets)
    chat, approvals = (_render_page(name, profile, build, sorted(assets)) for name in ("chat", "approvals"))
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def chat_room() -> Response:
        return HTMLResponse(chat, headers={**HEADERS, "Cache-Control": ALWAYS_ASK})

    @router.api_route("/approvals", methods=["GET", "HEAD"])
    async def approvals_page() -> Response:
        return HTMLResponse(approvals, headers={**HEADERS, "Cache-Control": ALWAYS_ASK})

    @router.api_route("/console/static/{wanted}/{name}", methods=["GET", "HEAD"])
    async def asset(wanted: str, name: str) -> Response:
        found = assets.get(name)
        if found is None:
            return Response(f"There is no {name} here.", 404, {**HEADERS, "Cache-Control": ALWAYS_ASK}, "text/plain")
        caching = UNTIL_NEW_BUILD if wanted == build else ALWAYS_ASK
        return Response(found.body, 200, {**HEADERS, "Cache-Control": caching}, found.media_type)

    return router


def read_assets(folder: Path) -> dict[str, Asset]:
    """Held in memory: 100 KB at most, and no path that comes from outside ever reaches the file system."""
    files = [path for path in folder.iterdir() if path.suffix in MEDIA_TYPES]
    return {path.name: Asset(path.read_bytes(), MEDIA_TYPES[path.suffix]) for path in files}


def build_of(assets: dict[str, Asset]) -> str:
    digest = hashlib.sha256()
    for name, asset in sorted(assets.items()):
        digest.update(f"{name}\0{len(asset.body)}\0".encode() + asset.body)
    return digest.hexdigest()[:16]


def _render_page(page: str, profile: str, build: str, names: list[str]) -> str:
    templates = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined)
    return templates.get_template(f"{page}.html").render(
        page=page,
        sections=SECTIONS,
        practice=profile == "embedded",
        files=f"/console/static/{build}",
        modules=[name for name in names if name.endswith(".js") and name not in ENTRIES],
        channels=CHANNELS,
    )
