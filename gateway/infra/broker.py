"""The door to Celery: publishes wake-up calls. The message is a job id and a signed ticket, nothing else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from celery import Celery
from kombu.exceptions import OperationalError

from gateway.domain.errors import Unavailable
from opsgate.contracts.jobs import KEY_PREFIX, QUEUE, TASK_NAME, WakeUp
from opsgate.contracts.problems import Code

DEADLINE_S = 3.0
ALIVE_S = 1.0
"""Seconds that readiness waits for the broker."""
# `retry=False` is the slowest against a dead broker (6 s measured); one quick retry answers in 0.1 s.
_RETRY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1}

_WAIT = ", so what is allowed waits and starts when it is back."


class CeleryDispatcher:
    """See `gateway.domain.ports.Dispatcher`. One thread publishes; a publish that hangs is counted, not awaited."""

    def __init__(self, url: str) -> None:
        self._app = Celery("opsgate-gateway", broker=url)
        self._app.conf.update(
            task_default_queue=QUEUE,
            task_ignore_result=True,
            task_serializer="json",
            accept_content=["json"],
            broker_connection_timeout=2,
            broker_transport_options=_options(url),
        )
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="broker")
        self._lock = threading.Lock()
        self.left_behind = 0

    async def wake(self, job: str, ticket: str, traceparent: str) -> None:
        message = WakeUp(job=job, ticket=ticket, traceparent=traceparent)
        await self._in_time(lambda: self._send(message), DEADLINE_S)

    async def alive(self) -> None:
        await self._in_time(self._knock, ALIVE_S)

    async def _in_time(self, job: Callable[[], None], deadline_s: float) -> None:
        loop = asyncio.get_running_loop()
        try:
            await asyncio.wait_for(loop.run_in_executor(self._threads, job), deadline_s)
        except TimeoutError:
            self.left_behind += 1
            raise Unavailable(Code.INTERNAL, f"The broker does not answer{_WAIT}") from None
        except (OperationalError, OSError, RuntimeError) as error:
            words = f"The broker cannot be reached ({type(error).__name__}){_WAIT}"
            raise Unavailable(Code.INTERNAL, words) from None

    def _knock(self) -> None:
        with self._app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)

    def _send(self, message: WakeUp) -> None:
        with self._lock:
            self._app.send_task(
                TASK_NAME, kwargs=message.model_dump(), queue=QUEUE, ignore_result=True, retry_policy=_RETRY
            )

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._app.close()


def _options(url: str) -> dict[str, object]:
    if url.startswith("memory:"):
        return {}
    if url.startswith("amqp"):
        return {"confirm_publish": True}
    return {
        "global_keyprefix": KEY_PREFIX,
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "visibility_timeout": 1200,
    }
