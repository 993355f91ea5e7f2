"""The yardstick: FastAPI, PyJWT and `send_task`, and no gate at all. Also the worker that consumes what it sends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import jwt
from celery import Celery
from fastapi import FastAPI, Header, HTTPException
from pydantic import BaseModel

celery = Celery("null", broker=os.environ["BENCH_BROKER"])
celery.conf.update(task_default_queue="null", worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True)
app = FastAPI()
_key = Path(os.environ["BENCH_PUBLIC_KEY"]).read_text()


class Order(BaseModel):
    command: str
    args: dict[str, Any]


@celery.task(name="null.work")
def work(command: str, args: dict[str, Any]) -> None:
    """Nothing to do."""


@app.post("/v1/invocations", status_code=202)
async def submit(order: Order, authorization: Annotated[str, Header()]) -> dict[str, str]:
    try:
        jwt.decode(authorization.removeprefix("Bearer "), _key, algorithms=["RS256"], audience="opsgate")
    except jwt.PyJWTError:
        raise HTTPException(401) from None
    sent = celery.send_task("null.work", kwargs=order.model_dump(), ignore_result=True)
    return {"id": str(sent.id)}
