"""The store on both of its engines: what is written together, who wins, and what is told when it cannot be written."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from gateway.domain.errors import Conflict, KeyTaken, LockHeld, Refused, Unavailable
from gateway.domain.invocation import NS
from gateway.domain.ports import Change, Notice, Once, Query
from gateway.infra.store.store import SqlStore
from opsgate.contracts.invocations import State
from opsgate.contracts.problems import Code
from opsgate.contracts.policy import Freeze
from tests.integration.stores import (
    T0,
    Place,
    asked,
    at_once,
    audit_of,
    entry,
    held,
    invocation,
    moved,
    queued,
    watched,
)

LOCK = "production/api-service"


def test_place(place: Place) -> None:
    assert place.counts()["audit"] == 0


async def test_many_who_write_at_once_share_few_transactions(place: Place) -> None:
    """One fsync serves many: the disk is the slow part."""
    store = place.store()
    await store.apply(asked(invocation(0)))
    with watched("commit") as commits:
        assert await at_once(store, [asked(invocation(n)) for n in range(1, 101)]) == [None] * 100
    assert len(commits) <= 100 // 4
    assert place.counts()["invocations"] == 101
