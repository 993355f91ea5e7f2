"""The composition root: the only place that picks real things for the ports. Reads as what the gateway is."""

from __future__ import annotations

import time
from typing import Any

from gateway.domain.catalog import Catalog
from gateway.domain.directory import Directory
from gateway.flows.feed import FeedHub
from gateway.flows.folk import Folk
from gateway.flows.gate import Gate
from gateway.house import House
from gateway.infra import jwt, redis
from gateway.infra.broker import CeleryDispatcher
from gateway.infra.files import Watched, load_catalog, load_directory
from gateway.infra.oidc.documents import Document
from gateway.infra.oidc.provider import Client, OidcProvider
from gateway.infra.opa import OpaPolicy
from gateway.infra.sinks import make_sinks
from gateway.infra.slack_evidence import SlackEvidence
from gateway.infra.store import migrate
from gateway.infra.store.store import SqlStore
from gateway.infra.telemetry import Telemetry, TracedDispatcher, TracedPolicy
from gateway.infra.tickets import FileTracker
from gateway.settings import Settings


class CannotStart(Exception):
    """A setting or a part is not right; the text says what to do."""


class SystemClock:
    def now_ns(self) -> int:
        return time.time_ns()


def build(settings: Settings) -> House:
    """Makes everything. Raises CannotStart with one line that says what to do; BadFiles for broken command files."""
    embedded = settings.profile == "embedded"
    telemetry = Telemetry(settings.node, settings.otlp_endpoint)
    store = _store(settings, embedded)
    keys = _keys(settings, embedded)
    catalog: Watched[Catalog] = Watched(settings.commands_dir, load_catalog)
    directory: Watched[Directory] = Watched(settings.directory_file, load_directory)
    client = redis.connect(settings.redis_url.get_secret_value())
    policy = OpaPolicy(settings.opa_url, settings.opa_deadline_ms / 1000)
    limits, bus = redis.RedisLimits(client, settings.rate_per_minute), redis.RedisBus(client)
    dispatcher = CeleryDispatcher(settings.broker_url.get_secret_value())
    clock = SystemClock()
    gate = Gate(
        tenant=settings.tenant,
        zones=tuple(z.strip() for z in settings.zones.split(",") if z.strip()),
        store=store,
        policy=TracedPolicy(policy, telemetry),
        dispatcher=TracedDispatcher(dispatcher, telemetry),
        tickets=keys,
        limits=limits,
        bus=bus,
        clock=clock,
        tracker=FileTracker(settings.tickets_file),
        catalog=lambda: catalog.value,
        folk=Folk(store, lambda: directory.value, clock),
        public_url=settings.public_url.rstrip("/"),
    )
    provider, documents = _provider(settings), list[Document[Any]]()
    gate.signs_in = provider is not None
    house = House(
        gate=gate,
        store=store,
        policy=policy,
        tokens=jwt.JwtTokens(_issuers(settings, keys, embedded, documents)),
        keys=keys,
        evidence=SlackEvidence(settings.slack_signing_secret.get_secret_value()),
        feed=FeedHub(store, bus),
        telemetry=telemetry,
        catalog=catalog,
        directory=directory,
        limits=limits,
        bus=bus,
        dispatcher=dispatcher,
        worker_token=settings.worker_token.get_secret_value().encode(),
        policy_status_file=settings.policy_status_file,
        provider=provider,
        doors=[*documents, *((provider,) if provider else ())],
    )
    _connect(house)
    return house


def _connect(house: House) -> None:
    def changed() -> None:
        house.work.set()
        house.feed.nudge()

    def observe(decision: Any, duration_us: int) -> None:
        house.telemetry.decisions.labels(decision.phase, decision.effect.value).inc()
        house.telemetry.decision_time.observe(duration_us / 1e6)

    house.gate.on_change = changed
    house.gate.observe = observe


def _store(settings: Settings, embedded: bool) -> SqlStore:
    if embedded:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        migrate.upgrade(settings.store_url)
    elif not _is_current(settings):
        raise CannotStart(
            "The database has another version's schema. Run `python -m gateway migrate` with its owner's URL."
        )
    try:
        sinks = make_sinks(settings.audit_log)
    except OSError as error:
        raise CannotStart(f"OPSGATE_AUDIT_LOG {settings.audit_log} cannot be opened ({error.strerror}).") from None
    return SqlStore(settings.store_url, settings.node, sinks)


def _is_current(settings: Settings) -> bool:
    try:
        return migrate.is_current(settings.store_url)
    except Exception as error:
        raise CannotStart(
            f"The database cannot be reached ({type(error).__name__}). Check OPSGATE_DATABASE_URL."
        ) from None


def _keys(settings: Settings, embedded: bool) -> jwt.KeyRing:
    path = settings.signing_key_file or settings.data_dir / "signing-key.pem"
    try:
        return jwt.KeyRing(jwt.load_or_make_key(path, make=embedded), settings.node)
    except (OSError, ValueError, TypeError) as error:
        raise CannotStart(f"The signing key cannot be used: {error}") from None


def _provider(settings: Settings) -> OidcProvider[dict[str, Any]] | None:
    """The identity provider people sign in at, if there is one."""
    if not settings.oidc_issuer:
        return None
    client = Client(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret.get_secret_value(),
        redirect_uri=f"{settings.public_url.rstrip('/')}/login/callback",
        scopes=settings.oidc_scopes,
        groups_claim=settings.oidc_groups_claim,
        mfa=frozenset(v.strip() for v in settings.oidc_mfa.split(",") if v.strip()),
        acr_values=settings.oidc_acr_values,
    )

    async def verify(token: str, signed_by: Document[dict[str, Any]], nonce: str, since_s: int) -> dict[str, Any]:
        wanted = jwt.IdTokenCheck(client.issuer, client.client_id, nonce, since_s)
        return await jwt.verify_id_token(token, signed_by, wanted)

    return OidcProvider(client, jwt.read_keys, verify)


def _issuers(settings: Settings, keys: jwt.KeyRing, embedded: bool, documents: list[Document[Any]]) -> list[jwt.Issuer]:
    def remote(url: str, read: Any) -> Document[Any]:
        documents.append(Document(url, read))
        return documents[-1]

    issuers = [keys.persona_issuer()] if embedded else []
    if settings.token_issuers_file:
        try:
            issuers += jwt.load_issuers(settings.token_issuers_file, remote)
        except jwt.BadIssuers as error:
            raise CannotStart(str(error)) from None
    return issuers
