"""No decision is a no: whatever OPA does instead of answering, nothing is allowed, and the reason says which."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from dev.processes import free_port
from gateway.domain.deciding import PolicyResult
from gateway.infra import opa
from gateway.infra.opa import OpaPolicy
from opsgate.contracts.policy import PolicyInput
from tests.policies.inputs import question

DOCUMENT = PolicyInput.model_validate(question())
ALLOW = {
    "schema": "gateway.decision/v1",
    "effect": "allow",
    "request_hash": DOCUMENT.request.hash,
    "reasons": [],
    "grants": [],
    "require": [],
    "auto": [],
    "unmet": [],
    "obligations": [],
}
Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def fake_opa(answering: Answering, port: int = 0) -> Any:
    """Something that listens where OPA should, and misbehaves."""
    app = web.Application()
    app.router.add_post("/v1/data/gateway/decision/result", answering)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    port = port or free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


async def ask(url: str) -> PolicyResult:
    policy = OpaPolicy(url, 0.25)
    await policy.open()
    try:
        return await policy.decide(DOCUMENT)
    finally:
        await policy.close()


def says(body: object, status: int = 200) -> Answering:
    async def answering(_: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status)

    return answering


async def _slow(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(1)
    return web.json_response({"result": ALLOW})


async def _text(_: web.Request) -> web.StreamResponse:
    return web.Response(text="allow")


CASES: dict[str, tuple[Answering, str]] = {
    "slow": (_slow, "policy_timeout"),
    "error 500": (says({"code": "internal_error"}, 500), "policy_error"),
    "undefined": (says({}), "policy_undefined"),
    "bare true": (says({"result": True}), "policy_bad_answer"),
    "whole package": (says({"result": {"result": ALLOW}}), "policy_bad_answer"),
    "another schema": (says({"result": {**ALLOW, "schema": "gateway.decision/v2"}}), "policy_bad_answer"),
    "unknown effect": (says({"result": {**ALLOW, "effect": "yes"}}), "policy_bad_answer"),
    "no JSON": (_text, "policy_error"),
}


@pytest.mark.parametrize("name", CASES)
async def test_t29_what_is_not_an_answer_is_a_no_with_its_own_reason(name: str) -> None:
    """Never a default allow."""
    answering, code = CASES[name]
    async with fake_opa(answering) as url:
        found = await ask(url)
    assert found.answer is None
    assert found.failure is not None
    assert found.failure.code == code


async def test_t29_a_dead_opa_is_a_no_and_one_that_is_back_answers() -> None:
    """The kept connection of before the restart does not matter."""
    port = free_port()
    policy = OpaPolicy(f"http://127.0.0.1:{port}", 0.25)
    await policy.open()
    try:
        for _ in range(2):
            dead = await policy.decide(DOCUMENT)
            assert dead.failure is not None
            assert dead.failure.code == "policy_unreachable"
            async with fake_opa(says({"result": ALLOW}), port):
                alive = await policy.decide(DOCUMENT)
                assert alive.answer is not None
    finally:
        await policy.close()


async def test_a_closed_door_is_a_no() -> None:
    """The library fails on None before it is opened and after it is closed; the gate does not."""
    found = await OpaPolicy("http://127.0.0.1:1", 0.25).decide(DOCUMENT)
    assert found.failure is not None
    assert found.failure.code == "policy_unreachable"


async def test_strict_builtin_errors_and_no_retries_are_really_asked_for() -> None:
    """Misspelt, the parameter is accepted and does nothing; retried, a strict error costs a second."""
    seen: list[web.Request] = []

    async def answering(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        return web.json_response({"code": "internal_error"}, status=500)

    async with fake_opa(answering) as url:
        await ask(url)
    assert len(seen) == 1
    assert seen[0].query["strict-builtin-errors"] == "true"


async def test_a_rush_waits_for_a_place_and_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Together they take longer than one may: a question's own time begins at its place, so none is denied."""
    monkeypatch.setattr(opa, "QUEUE_S", 60.0)

    async def answering(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.05)
        return web.json_response({"result": ALLOW})

    async with fake_opa(answering) as url:
        policy = OpaPolicy(url, 1.0)
        await policy.open()
        try:
            found = await asyncio.gather(*(policy.decide(DOCUMENT) for _ in range(opa.IN_FLIGHT * 25)))
        finally:
            await policy.close()
    assert all(f.answer is not None for f in found)
