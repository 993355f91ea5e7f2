"""Signing in at one OpenID provider: authorization code with PKCE, as a confidential client. The only user of Authlib.

Refuses an answer that is not signed for this very sign-in, and endpoints that are neither https nor on this machine.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import structlog
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session

from gateway.domain.errors import Refused
from gateway.domain.identity import Asking, Identified, Returned
from gateway.domain.invocation import NS
from gateway.infra.oidc.documents import DEADLINE_S, Document, NotThere, fetch, is_private_enough
from opsgate.contracts.problems import Code

log = structlog.get_logger("opsgate.oidc")
K = TypeVar("K")
MAX_GROUPS, MAX_TEXT = 500, 200
OWN_GROUPS = ("opsgate", "oncall:")
"""What only the gateway itself says of somebody; a provider's group of that name is not it."""


@dataclass(frozen=True)
class Client:
    """What the gateway is at its provider. `mfa`: values of acr or amr that mean a second factor."""

    issuer: str
    client_id: str
    client_secret: str
    redirect_uri: str
    scopes: str
    groups_claim: str
    mfa: frozenset[str]
    acr_values: str = ""


@dataclass(frozen=True)
class Description:
    """The part of a discovery document that is used."""

    authorization: str
    token: str
    keys: str
    userinfo: str
    secret_in_body: bool
    names_itself: bool


Verify = Callable[[str, Document[K], str, int], Awaitable[dict[str, Any]]]
"""Claims of an ID token, from: token, keys, nonce, signed in since (unix seconds). Raises ValueError, Unavailable."""


class OidcProvider(Generic[K]):
    """See `gateway.domain.identity.IdentityProvider`. `read_keys` and `verify` are those of the door to PyJWT."""

    def __init__(self, client: Client, read_keys: Callable[[dict[str, Any]], K], verify: Verify[K]) -> None:
        """Fetches nothing yet. Raises ValueError when the issuer's address is not one to be trusted."""
        self._client = client
        self._read_keys = read_keys
        self._verify = verify
        self._description = Document(f"{client.issuer.rstrip('/')}/.well-known/openid-configuration", self._read)
        self._keys: Document[K] | None = None
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="sign-in")

    @property
    def name(self) -> str:
        return urlsplit(self._client.issuer).hostname or self._client.issuer

    async def close(self) -> None:
        for document in (self._description, self._keys):
            if document is not None:
                await document.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def url(self, asking: Asking) -> str:
        """Raises Unavailable when the provider cannot be asked where that is."""
        description = await self._description.now()
        more = {"nonce": asking.nonce}
        if asking.again_since_ns:
            more |= {"prompt": "login", "max_age": "0"}
            more |= {"acr_values": self._client.acr_values} if self._client.acr_values else {}
        made: str = self._session(description).create_authorization_url(
            description.authorization, state=asking.state, code_verifier=asking.verifier, **more
        )[0]
        return made

    async def identify(self, asking: Asking, returned: Returned) -> Identified:
        """Raises Refused (401) for an answer not to be believed, Unavailable when the provider is gone."""
        description = await self._description.now()
        if returned.error or not returned.code:
            raise _refused(f"the provider answered {returned.error[:100] or 'without a code'}", "Nobody signed in.")
        named = returned.issuer or (None if description.names_itself else self._client.issuer)
        if named != self._client.issuer:
            raise _refused("another provider answered (iss)")
        tokens = await self._exchange(description, asking, returned.code)
        try:
            claims = await self._verify(
                str(tokens.get("id_token", "")),
                self._keys_at(description.keys),
                asking.nonce,
                asking.again_since_ns // NS,
            )
        except ValueError as why:
            raise _refused(f"the ID token: {why}") from None
        return self._identified(await self._with_userinfo(description, claims, str(tokens.get("access_token", ""))))

    async def _exchange(self, description: Description, asking: Asking, code: str) -> dict[str, Any]:
        """The tokens for a code, by a thread: Authlib speaks through `requests`."""

        def exchange() -> dict[str, Any]:
            with self._session(description) as session:
                return dict(
                    session.fetch_token(
                        description.token,
                        grant_type="authorization_code",
                        code=code,
                        code_verifier=asking.verifier,
                        redirect_uri=self._client.redirect_uri,
                        timeout=DEADLINE_S,
                        allow_redirects=False,
                    )
                )

        running = asyncio.get_running_loop().run_in_executor(self._threads, exchange)
        try:
            # `requests` counts its seconds for each piece of an answer; these are for the whole.
            return await asyncio.wait_for(running, DEADLINE_S * 2)
        except AuthlibBaseError as error:
            raise _refused(f"the token endpoint: {error}") from None
        except (OSError, TimeoutError) as error:  # what `requests` raises is an OSError
            log.warning("token_endpoint_gone", why=type(error).__name__)
            raise NotThere(f"the token endpoint: {type(error).__name__}") from None
        except (ValueError, TypeError, KeyError) as error:
            raise _refused(f"the token endpoint answered something else: {type(error).__name__}") from None

    async def _with_userinfo(self, description: Description, claims: dict[str, Any], token: str) -> dict[str, Any]:
        """Some providers tell groups and names only when asked for them; who it is, the ID token alone says."""
        lacking = not {self._client.groups_claim, "name"} <= claims.keys()
        if not lacking or not description.userinfo or not token.isascii() or not token:
            return claims
        more = await fetch(description.userinfo, token)
        if more.get("sub") != claims["sub"]:
            raise _refused("the userinfo endpoint speaks of somebody else")
        return more | claims

    def _identified(self, claims: dict[str, Any]) -> Identified:
        groups = claims.get(self._client.groups_claim, ())
        groups = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else ()
        if len(groups) > MAX_GROUPS:
            raise _refused(
                f"more than {MAX_GROUPS} groups", "You are in more groups than Opsgate takes from a sign-in."
            )
        taken = dict.fromkeys(g for g in groups if isinstance(g, str) and 0 < len(g) <= MAX_TEXT)
        said = claims.get("amr", ())
        factors = {claims.get("acr"), *(said if isinstance(said, list) else ())}
        names = (claims.get("name"), claims.get("preferred_username"), claims["sub"])
        return Identified(
            issuer=self._client.issuer,
            subject=claims["sub"],
            name=next(filter(None, map(_plain, names)), "Somebody"),
            groups=tuple(g for g in taken if not g.startswith(OWN_GROUPS[1]) and g != OWN_GROUPS[0]),
            second_factor=bool(self._client.mfa & {f for f in factors if isinstance(f, str)}),
        )

    def _keys_at(self, url: str) -> Document[K]:
        if self._keys is None or self._keys.url != url:
            self._keys = Document(url, self._read_keys)
        return self._keys

    def _session(self, description: Description) -> OAuth2Session:
        session = OAuth2Session(
            self._client.client_id,
            self._client.client_secret,
            scope=self._client.scopes,
            redirect_uri=self._client.redirect_uri,
            code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_post" if description.secret_in_body else "client_secret_basic",
        )
        session.trust_env = False
        paths = ssl.get_default_verify_paths()
        session.verify = paths.cafile or paths.capath or True  # a company's own certificates may be there
        return session

    def _read(self, found: dict[str, Any]) -> Description:
        """Raises ValueError."""
        if found.get("issuer") != self._client.issuer:
            raise ValueError(
                f"it calls itself {str(found.get('issuer'))[:200]!r}; set OPSGATE_OIDC_ISSUER to just that"
            )
        places = {n: str(found.get(f"{n}_endpoint") or "") for n in ("authorization", "token", "userinfo")}
        keys = str(found.get("jwks_uri") or "")
        for name, place in (*places.items(), ("jwks", keys)):
            encrypted = urlsplit(self._client.issuer).scheme == urlsplit(place).scheme or place.startswith("https:")
            if (place or name != "userinfo") and not (encrypted and is_private_enough(place)):
                raise ValueError(f"its {name} address {place[:200]!r} is not https")
        ways = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        return Description(
            authorization=places["authorization"],
            token=places["token"],
            keys=keys,
            userinfo=places["userinfo"],
            secret_in_body="client_secret_basic" not in ways,
            names_itself=found.get("authorization_response_iss_parameter_supported") is True,
        )


def _plain(text: object) -> str:
    """At most 80 printable characters; empty when it is no text."""
    return "".join(c for c in text if c.isprintable()).strip()[:80] if isinstance(text, str) else ""


def _refused(why: str, words: str = "The identity provider's answer is not accepted.") -> Refused:
    log.warning("sign_in_refused", why=why)
    return Refused(Code.UNAUTHENTICATED, 401, f"{words} Start again; if it stays so, tell the operator.")
