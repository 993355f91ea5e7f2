"""The gateway about itself: health, readiness, metrics, the policy contract; and personas in the embedded profile."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from gateway.api.callers import HouseDep
from gateway.api.openapi import failures, text
from gateway.domain.errors import not_found
from opsgate.contracts.base import JsonObject, PrincipalKind
from opsgate.contracts.decisions import PolicyAnswer
from opsgate.contracts.policy import PolicyInput

router = APIRouter(tags=["system"])
dev_router = APIRouter(prefix="/v1/dev", tags=["embedded profile only"])


class Health(BaseModel):
    status: str


class Check(BaseModel):
    ok: bool
    detail: str


class Readiness(BaseModel):
    """`ready`: commands can be decided and written down. A check may fail without that (an old policy stays live)."""

    ready: bool
    revision: str
    checks: dict[str, Check]


@router.get("/healthz", operation_id="healthz")
async def healthz() -> Health:
    """The process is alive. Asks nobody."""
    return Health(status="alive")


@router.get("/readyz", operation_id="readyz", response_model=Readiness, responses={503: {"model": Readiness}})
async def readyz(house: HouseDep) -> Response:
    """What works and what does not, each with a sentence."""
    found = await house.readiness()
    return JSONResponse(found, 200 if found["ready"] else 503)


@router.get("/metrics", operation_id="metrics", response_class=Response, responses=text("text/plain", "Samples"))
async def metrics(house: HouseDep) -> Response:
    """Prometheus text format."""
    return Response(house.telemetry.page(), media_type="text/plain; version=0.0.4; charset=utf-8")


class PolicyContract(BaseModel):
    """`query` is the document that is asked for; `input` and `decision` are JSON Schemas (2020-12)."""

    query: str
    input: JsonObject
    decision: JsonObject


@router.get("/.well-known/policy-contract.json", operation_id="policyContract")
async def policy_contract() -> PolicyContract:
    """What a policy is asked and must answer."""
    return PolicyContract(
        query="data.gateway.decision.result",
        input=PolicyInput.model_json_schema(by_alias=True, mode="serialization"),
        decision=PolicyAnswer.model_json_schema(by_alias=True),
    )


class PersonaView(BaseModel):
    id: str
    name: str
    title: str


class PersonaToken(BaseModel):
    token: str
    expires_in: int


@dev_router.get("/personas", operation_id="listPersonas")
async def list_personas(house: HouseDep) -> list[PersonaView]:
    """Who one can be for practice. There is no such thing in production."""
    humans = [p for p in house.directory.value.people if p.kind is PrincipalKind.HUMAN]
    return [PersonaView(id=p.id, name=p.name, title=p.title) for p in humans[:20]]


@dev_router.post("/personas/{id}/token", operation_id="becomePersona", responses=failures(404, 422))
async def become_persona(
    house: HouseDep, id: Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
) -> PersonaToken:
    if house.directory.value.person(id) is None:
        raise not_found(f"persona `{id}`")
    token, life_s = house.keys.persona_token(id)
    return PersonaToken(token=token, expires_in=life_s)
