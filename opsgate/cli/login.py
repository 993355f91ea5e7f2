"""`opsgate login` and `opsgate logout`: a token for this terminal, from a person at a browser, and its end.

Listens on this machine's own address only, for one answer; refuses an answer with another state.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import hmac
import platform
import secrets
import time
import webbrowser
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2

from opsgate import __version__, tokens
from opsgate.cli import exits, render
from opsgate.cli.text import one_line
from opsgate.client import Client
from opsgate.errors import GatewayUnreachable, Mistake, OpsgateError
from opsgate.tokens import Kept

CLIENT_ID = "opsgate-cli"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
PATIENCE_S = 300.0
_DONE = b"You are signed in. Go back to the terminal; you can close this page."
_NOT_DONE = b"The terminal is not signed in. It says why."


class LoginFailed(OpsgateError):
    """Nobody let the terminal in; the text says why and what to do."""


def login(args: argparse.Namespace) -> int:
    """Signs this terminal in, and says as whom."""
    return asyncio.run(_login(args))


async def _login(args: argparse.Namespace) -> int:
    async with Client(args.url, ""):
        pass  # an address that is none is told here, before anything listens or asks
    kept = await (_by_device(args.url) if args.device else _by_browser(args.url, quiet=args.no_browser))
    place = tokens.keep(args.url, kept)
    async with Client(args.url, kept.token) as client:
        me = await client.whoami()
    hours = max(1, round((kept.until - time.time()) / 3600))
    render.say(one_line(f"Signed in as {me.name} ({me.id}) for {hours} h. The token is kept in {place}."))
    return exits.OK


def logout(args: argparse.Namespace) -> int:
    """Ends the terminal's sign-in, at the gateway and here."""
    return asyncio.run(_logout(args))


async def _logout(args: argparse.Namespace) -> int:
    kept = tokens.find(args.url)
    if kept is None:
        tokens.drop(args.url)
        render.say("This terminal is not signed in.")
        return exits.OK
    try:
        await _post(args.url, "/oauth/revoke", {"token": kept.token, "client_id": CLIENT_ID})
    finally:
        tokens.drop(args.url)  # even if the gateway is gone: then it ends by itself, and nobody has it any more
    render.say("Signed out.")
    return exits.OK


# ---- by the browser of this machine ----------------------------------------------------------------------------------


@dataclass
class _Desk:
    """Waits for the browser to come back with this `state`."""

    state: str
    answer: asyncio.Future[dict[str, str]]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ValueError, TimeoutError):
            first = (await asyncio.wait_for(reader.readline(), 5)).decode("ascii")
            path, said = self._understood(first)
            good = path == "/callback" and hmac.compare_digest(said.get("state", ""), self.state)
            text = _DONE if good and "code" in said else _NOT_DONE
            head = f"HTTP/1.1 {200 if good else 404} -\r\nContent-Type: text/plain; charset=utf-8\r\n"
            head += f"Content-Length: {len(text)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + text)
            await writer.drain()
            if good and not self.answer.done():
                self.answer.set_result(said)
        writer.close()

    @staticmethod
    def _understood(first: str) -> tuple[str, dict[str, str]]:
        method, target, _ = first.split(" ", 2)
        parts = urlsplit(target)
        said = {name: values[0] for name, values in parse_qs(parts.query).items() if len(values) == 1}
        return (parts.path if method == "GET" else ""), said


async def _by_browser(url: str, *, quiet: bool) -> Kept:
    state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
    desk = _Desk(state, asyncio.get_running_loop().create_future())
    server = await asyncio.start_server(desk.serve, "127.0.0.1", 0, limit=8192)
    async with server:
        redirect_uri = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/callback"
        asked = {
            "response_type": "code",
            "client_id": CLIENT_ID,
            "redirect_uri": redirect_uri,
            "code_challenge": _challenge(verifier),
            "code_challenge_method": "S256",
            "state": state,
            "name": platform.node(),
        }
        address = f"{url.rstrip('/')}/oauth/authorize?{urlencode(asked)}"
        render.say(f"Sign in with your browser:\n\n  {one_line(address)}\n")
        if not quiet:
            await asyncio.to_thread(_open, address)
        try:
            said = await asyncio.wait_for(desk.answer, PATIENCE_S)
        except TimeoutError:
            raise LoginFailed("Nobody signed in within five minutes. Run `opsgate login` again.") from None
    if "code" not in said:
        raise LoginFailed("The sign-in was refused in the browser. Run `opsgate login` again if you want it.")
    proof = {"grant_type": "authorization_code", "code": said["code"], "code_verifier": verifier}
    return _kept(await _post(url, "/oauth/token", proof | {"client_id": CLIENT_ID, "redirect_uri": redirect_uri}))


def _open(address: str) -> None:
    with suppress(Exception):  # no browser here; the address stands in the terminal
        webbrowser.open(address)


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


# ---- by a browser somewhere else -------------------------------------------------------------------------------------


async def _by_device(url: str) -> Kept:
    asked = await _post(url, "/oauth/device_authorization", {"client_id": CLIENT_ID, "name": platform.node()})
    _explain(asked)
    code, user_code, page = (str(asked.get(n, "")) for n in ("device_code", "user_code", "verification_uri"))
    render.say(one_line(f"In any browser, open {page} and type the code {user_code}. Waiting for you there ..."))
    wait_s, until = float(asked.get("interval", 5)), time.monotonic() + float(asked.get("expires_in", 600))
    while time.monotonic() < until:
        await asyncio.sleep(wait_s)
        proof = {"grant_type": DEVICE_GRANT, "device_code": code, "client_id": CLIENT_ID}
        answer = await _post(url, "/oauth/token", proof)
        if answer.get("error") == "slow_down":
            wait_s += 5
        elif answer.get("error") != "authorization_pending":
            return _kept(answer)
    raise LoginFailed("Nobody confirmed the code in time. Run `opsgate login --device` again.")


# ---- how it travels --------------------------------------------------------------------------------------------------


def _kept(answer: dict[str, Any]) -> Kept:
    _explain(answer)
    token, life_s = answer.get("access_token"), answer.get("expires_in")
    if not isinstance(token, str) or not isinstance(life_s, int):
        raise LoginFailed("The gateway's answer is not known here. Bring client and gateway to the same version.")
    return Kept(token, int(time.time()) + life_s)


def _explain(answer: dict[str, Any]) -> None:
    """Raises LoginFailed for an error of RFC 6749."""
    if "error" in answer:
        raise LoginFailed(str(answer.get("error_description") or answer["error"]))


async def _post(url: str, path: str, fields: dict[str, str]) -> dict[str, Any]:
    """A form to the gateway, and its JSON answer, be it an error. Raises GatewayUnreachable, LoginFailed."""
    headers = {"User-Agent": f"opsgate/{__version__}", "Accept": "application/json"}
    async with httpx2.AsyncClient(timeout=10, trust_env=False, follow_redirects=False, headers=headers) as http:
        try:
            response = await http.post(f"{url.rstrip('/')}{path}", data=fields)
        except httpx2.TransportError as why:
            said = str(why) or type(why).__name__
            raise GatewayUnreachable(f"The gateway at {url} cannot be reached ({said}). Check that it runs.") from why
    if not response.content:
        return {}
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise Mistake(f"{url} does not sign terminals in. Check the URL, or ask its operator.")
    detail = answer.get("detail")  # a problem of the gateway's own, such as too many calls
    return {"error": answer.get("code"), "error_description": detail} if isinstance(detail, str) else answer
