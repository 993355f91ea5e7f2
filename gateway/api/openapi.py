"""What /openapi.json says beside the shapes of bodies: how each operation can fail, with which headers and codes.

Refuses to promise what does not come: an operation lists its own statuses, and each status its closed list of codes.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, FastAPI, Path

from gateway.api.problems import TITLES
from gateway.domain.ids import INVOCATION
from opsgate.contracts.commands import AskDecision
from opsgate.contracts.invocations import CancelInvocation, CastVote, InvocationView, SendMessage, SubmitInvocation
from opsgate.contracts.problems import CONTENT_TYPE, Code, Problem

Responses = dict[int | str, dict[str, Any]]

DESCRIPTION = """One door between chat and production.

Every error is a problem document (RFC 9457) with a `code` from a closed list; switch on that, never on the sentences.
A method that a path does not list is answered 405 with an `Allow` header, an unknown path 404.
A POST of something to be done takes an `Idempotency-Key`: the same key with the same body gives the same answer.
"""

_CODES: dict[int, tuple[Code, ...]] = {
    400: (Code.BAD_INPUT, Code.KEY_MISSING),
    401: (Code.UNAUTHENTICATED,),
    403: (Code.FORBIDDEN, Code.UNPROVEN_ACTOR, Code.UNLINKED_ACCOUNT),
    404: (Code.NOT_FOUND,),
    409: (Code.NOT_POSSIBLE_NOW, Code.KEY_RUNNING),
    413: (Code.TOO_LARGE,),
    422: (Code.BAD_COMMAND, Code.BAD_INPUT, Code.KEY_REUSED),
    429: (Code.RATE_LIMITED,),
    500: (Code.INTERNAL,),
    503: (Code.STORE_UNAVAILABLE, Code.AUDIT_UNAVAILABLE, Code.INTERNAL),
}


def _header(description: str, schema: dict[str, Any], *, always: bool) -> dict[str, Any]:
    return {"description": description, "schema": schema, "required": always}


_SECONDS = {"type": "integer", "minimum": 1}
_RETRY = "Seconds after which to send the same again, with the same Idempotency-Key"
_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": _header("How to sign in", {"const": "Bearer"}, always=True)},
    409: {"Retry-After": _header(_RETRY, _SECONDS, always=False)},
    429: {"Retry-After": _header(_RETRY, _SECONDS, always=True)},
    503: {"Retry-After": _header(_RETRY, _SECONDS, always=True)},
}
_REPLAYED = _header("The answer was given before, to the same key", {"const": "true"}, always=False)


def failures(*statuses: int) -> Responses:
    """The `responses` of an operation that can answer these statuses with a problem document."""
    return {s: {"$ref": f"#/components/responses/Problem{s}", "description": TITLES[s]} for s in statuses}


ANYWHERE = failures(400, 413, 500)
"""Of every operation: a body is bounded before anybody looks where it goes."""
SIGNED_IN = failures(401, 403)
"""Of every operation for persons and adapters. 403: an adapter without a person behind it, or not for this person."""


def done(model: Any, *, status: int = 200, invocation: str | None = None) -> Responses:
    """A POST's success. `invocation`: where in the answer the id of an Invocation is (JSON pointer), if anywhere."""
    told: dict[str, Any] = {"model": model, "headers": {"Idempotent-Replayed": _REPLAYED}}
    if invocation is not None:
        told["links"] = _links(f"$response.body#{invocation}")
    return {status: told}


def _links(invocation_id: str) -> dict[str, Any]:
    """What can be done next with an Invocation."""
    after = ("getInvocation", "getLog", "castVote", "cancelInvocation")
    return {name: {"operationId": name, "parameters": {"id": invocation_id}} for name in after}


def text(media_type: str, description: str) -> Responses:
    """A success that is text and not JSON."""
    return {200: {"description": description, "content": {media_type: {"schema": {"type": "string"}}}}}


SUBMITTED = {
    **done(InvocationView, invocation="/id"),
    **done(InvocationView, status=202, invocation="/id"),
}


def complete(app: FastAPI) -> None:
    """Puts problem documents into the components of the application's document; FastAPI knows only JSON models."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        if not app.openapi_schema:
            components = make().setdefault("components", {})
            problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            components.setdefault("schemas", {}).update(problem.pop("$defs"), Problem=problem)
            components["responses"] = {f"Problem{status}": _failure(status) for status in _CODES}
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]


def _failure(status: int) -> dict[str, Any]:
    codes = {"status": {"const": status}, "code": {"enum": [code.value for code in _CODES[status]]}}
    schema = {"allOf": [{"$ref": "#/components/schemas/Problem"}, {"type": "object", "properties": codes}]}
    found: dict[str, Any] = {"description": TITLES[status], "content": {CONTENT_TYPE: {"schema": schema}}}
    if status in _HEADERS:
        found["headers"] = _HEADERS[status]
    return found


def _examples(**values: dict[str, Any]) -> Any:
    return Body(openapi_examples={name.replace("_", " "): {"value": value} for name, value in values.items()})


InvocationId = Annotated[str, Path(pattern=f"^{INVOCATION.pattern}$", description="As a card's footer shows it")]
DEPLOY = {"environment": "staging", "service": "api-service", "version": "1.4.2"}
SendMessageBody = Annotated[
    SendMessage,
    _examples(
        do_something={"text": "/ops deploy staging api-service --version 1.4.2", "context": {"channel": "deployments"}},
        ask_what_there_is={"text": "help"},
        a_typing_mistake={"text": "deplyo staging api-service"},
    ),
]
SubmitInvocationBody = Annotated[
    SubmitInvocation,
    _examples(
        as_a_line={"text": "status api-service staging"},
        as_arguments={"command": "deploy", "args": DEPLOY, "reason": "A fix for the slow checkout"},
    ),
]
AskDecisionBody = Annotated[
    AskDecision, _examples(what_if_I_did={"text": "deploy production api-service --version 1.4.2"})
]
CastVoteBody = Annotated[
    CastVote, _examples(approve={"verdict": "approve", "binding_hash": "sha256:" + "0123456789abcdef" * 4})
]
CancelInvocationBody = Annotated[CancelInvocation, _examples(stop={"reason": "The wrong version"})]
