"""The only file that knows Celery: its settings, the one task it carries, and the ways to run a worker.

Refuses to make Celery a source of truth: no result backend, no countdown, no retries; a message only wakes the runner.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import structlog
from celery import Celery, signals
from celery.concurrency.thread import TaskPool
from celery.exceptions import WorkerShutdown
from celery.worker import WorkController
from kombu.transport import memory
from pydantic import ValidationError

from opsgate.contracts.jobs import KEY_PREFIX, QUEUE, TASK_NAME, WakeUp
from workers import connectors
from workers.announcer import Announcer, offer
from workers.gateway_api import Gateway, GatewayApi
from workers.runner import Runner
from workers.settings import WorkerSettings
from workers.telemetry import log_json, send_traces

POLL_S = 0.02
"""How often an embedded worker looks for a message: this much latency, for about 0.2 % of a core."""
HARD_LIMIT_S = 900
VISIBILITY_S = 1200
START_LIMIT_S = 10

_log = structlog.get_logger(__name__)


class PromptTransport(memory.Transport):
    """kombu's memory transport that comes up for air often enough to stop promptly; same queues."""

    def drain_events(self, connection: Any, timeout: float | None = None, **kwargs: Any) -> None:
        super().drain_events(connection, timeout=min(timeout or POLL_S, 5 * POLL_S), **kwargs)


class OwnAppPool(TaskPool):
    """Celery's thread pool whose threads work for the app of their worker, not for the last app made in the process."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        app, _ = kwargs["initargs"]
        self.executor = ThreadPoolExecutor(self.limit, thread_name_prefix="job", initializer=app.set_current)


def make_runner(settings: WorkerSettings, gateway: Gateway) -> Runner:
    """Raises ConnectorsWrong with every problem of the wanted connectors."""
    operations = connectors.load(settings.connectors, settings.environment())
    return Runner(gateway, operations, settings.worker_name)


def make_app(settings: WorkerSettings, runner: Runner | None = None) -> Celery:
    """A Celery app that carries out `opsgate.wake`, with `runner` or one made from the settings."""
    app = Celery("opsgate-worker", set_as_current=False)
    app.conf.update(_conf(settings))
    carrier = runner or make_runner(settings, _gateway(settings))

    def wake(**fields: Any) -> None:
        try:
            message = WakeUp.model_validate(fields)
        except ValidationError as error:
            _log.error("wake.not_understood", wrong=[".".join(map(str, each["loc"])) for each in error.errors()])
            return
        carrier.wake(message)

    # Not shared: every app of a process would carry out Jobs with the first one's runner.
    app.task(name=TASK_NAME, shared=False)(wake)
    return app


def start_thread(settings: WorkerSettings) -> Callable[[], None]:
    """Starts a worker and its announcing in threads of this process, for memory://; returns when it takes messages.

    The answer stops it: it lets running steps end and returns when they did. Touches no signals and no logging.
    """
    gateway = _gateway(settings)
    runner = make_runner(settings, gateway)
    ready = threading.Event()
    worker: Any = WorkController(  # its type stub leaves out `consumer`
        app=make_app(settings, runner),
        hostname=settings.worker_name,
        pool=OwnAppPool,
        concurrency=settings.worker_threads,
        ready_callback=lambda consumer: ready.set(),
        without_heartbeat=True,
        without_mingle=True,
        without_gossip=True,
    )
    thread = threading.Thread(target=worker.start, name="worker", daemon=True)
    thread.start()
    if not ready.wait(START_LIMIT_S):
        raise RuntimeError("The worker thread did not start; the log says why.")
    parts = ExitStack()
    parts.callback(gateway.close)
    parts.callback(thread.join)
    # Raised inside the worker's own loop: stopping from outside would close its connection under its feet.
    parts.callback(worker.consumer.call_soon, _raise_shutdown)
    parts.enter_context(_announcer(settings, runner, gateway))
    return parts.close


def run(settings: WorkerSettings, options: list[str]) -> None:
    """A worker as a program, until SIGTERM; `options` go to `celery worker` after `--pool threads`."""
    send_traces(settings.otlp_endpoint, settings.worker_name)
    signals.setup_logging.connect(lambda **_: log_json(settings.log_level), weak=False)
    log_json(settings.log_level)
    runner = make_runner(settings, _gateway(settings))
    app = make_app(settings, runner)
    app.set_default()
    quiet = ["--without-mingle", "--without-gossip", "--without-heartbeat"]
    # The announcer has connections of its own: a prefork pool must not inherit them.
    with _announcer(settings, runner, _gateway(settings)):
        app.worker_main(["--quiet", "worker", "--pool", "threads", "-n", settings.worker_name, *quiet, *options])


def _raise_shutdown() -> None:
    raise WorkerShutdown(0)


def _gateway(settings: WorkerSettings) -> GatewayApi:
    return GatewayApi(settings.gateway_url, settings.worker_token.get_secret_value())


def _announcer(settings: WorkerSettings, runner: Runner, gateway: Gateway) -> Announcer:
    return Announcer(gateway, offer(settings.worker_name, runner.operations.values()), settings.announce_every_s)


def _conf(settings: WorkerSettings) -> dict[str, Any]:
    """Celery's settings: at least once up to the claim; the lease makes it once from there on."""
    scheme = settings.broker_url.partition(":")[0]
    return {
        "broker_url": settings.broker_url if scheme != "memory" else "memory://localhost",  # kombu warns without a host
        "task_default_queue": QUEUE,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_acks_on_failure": True,
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        "task_time_limit": HARD_LIMIT_S,
        "task_soft_time_limit": HARD_LIMIT_S - 60,
        "task_serializer": "json",
        "accept_content": ["json"],
        "worker_prefetch_multiplier": 1,
        "worker_concurrency": settings.worker_threads,
        "worker_soft_shutdown_timeout": 60,
        "worker_enable_soft_shutdown_on_idle": True,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "broker_connection_retry_on_startup": True,
        **_transport(scheme),
    }


def _transport(scheme: str) -> dict[str, Any]:
    if scheme == "memory":
        return {"broker_transport": PromptTransport, "broker_transport_options": {"polling_interval": POLL_S}}
    if scheme.startswith("amqp"):
        return {"task_default_queue_type": "quorum", "broker_transport_options": {"confirm_publish": True}}
    return {
        "visibility_timeout": VISIBILITY_S,
        "broker_transport_options": {
            "visibility_timeout": VISIBILITY_S,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "global_keyprefix": KEY_PREFIX,
            "socket_timeout": 5,
            "socket_connect_timeout": 3,
        },
    }
