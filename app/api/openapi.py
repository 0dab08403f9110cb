"""What OpenAPI says about errors, the same for every route, and about what FastAPI does not see."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app.api.http.early_refusal import kind_of
from app.api.http.errors import (
    BadRequestError,
    NotAcceptableError,
    TooSlowError,
    UnauthorizedError,
    UnsupportedMediaTypeError,
)
from app.api.http.problem_types import problem_type
from app.api.http.problems import MEDIA_TYPE, TYPE_PREFIX, Problem, ProtocolError
from app.api.http.upload import SEND_ONE
from app.api.placeholders import facts, fill
from app.api.schema_style import readable
from app.errors import (
    DeadlineError,
    InvalidParameterError,
    LRPServeError,
    TooLargeError,
    UnavailableError,
    UnknownModelError,
)
from app.models.card import Kind
from app.models.protocol import Description

EXAMPLES: Mapping[int, tuple[type[LRPServeError], str]] = {
    400: (BadRequestError, f"the picture is empty; {SEND_ONE}"),
    401: (
        UnauthorizedError,
        "a key is needed; send one of the service's keys as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'",
    ),
    404: (UnknownModelError, "no such model is served here; there is {{models_in_words}}"),
    406: (
        NotAcceptableError,
        "cannot answer this request as text/html; there is application/json, image/png, application/x-npy",
    ),
    408: (TooSlowError, "the body did not arrive within 15 s; send it faster or smaller"),
    413: (
        TooLargeError,
        "the body is larger than 8 MiB; send a smaller picture: no model sees more than {{largest_size}} pixels "
        "of it",
    ),
    415: (UnsupportedMediaTypeError, f"text/plain is no picture; {SEND_ONE}"),
    422: (
        InvalidParameterError,
        "target: no class 'tiger'; use a number from 0 to {{last_index}} or one of {{classes}}",
    ),
    503: (UnavailableError, "the service is warming up; try again in a second"),
    504: (DeadlineError, "waited 5 s without a turn and was not computed; try again later"),
}
"""Type and detail of an error that a client may receive, by status; `app.api.placeholders` fills in the model."""

BINARY = "application/octet-stream"
JSON_LENGTH = "Inference-Header-Content-Length"
"""Triton's header: where in the body the JSON ends and the binary tensors begin."""
PARTS = "The JSON, and behind it the binary data of its tensors, in their order."
_LENGTH = {
    "description": "Bytes of JSON in front of binary data.",
    "schema": {"type": "integer", "minimum": 0, "examples": [317]},
}
BINARY_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {BINARY: {"schema": {"type": "string", "format": "binary", "description": PARTS}}},
        "headers": {JSON_LENGTH: _LENGTH},
    }
}
"""``responses`` of a route that may answer with Triton's binary tensors."""

RECORDED = Path(__file__).with_name("examples.json")
"""Recorded answers by operation, of any model and by the version of the model; long ones are cut."""
ANY_MODEL = "any model"
SCHEMAS = "#/components/schemas/{model}"


def operation_id(route: APIRoute) -> str:
    """Return the ID of a route's operation, of which generated clients make a function: the route's name."""
    return route.name


def install(
    app: FastAPI,
    schemas: Sequence[type[BaseModel]],
    models: Sequence[Description],
    defaults: Mapping[Kind, Description],
) -> None:
    """Complete the schema of ``app``.

    Adds ``schemas``, which its routes read or write by hand, and examples of answers, and fills in the
    placeholders with facts of the served ``models``, mostly of the default one of the kind of input.
    """
    first = next(iter(defaults.values()))
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        schema = generate()
        _, found = models_json_schema([(model, "validation") for model in schemas], ref_template=SCHEMAS)
        schema["components"]["schemas"].update(found["$defs"])
        schema = readable(schema)
        for default in defaults.values():
            _add_examples(schema["paths"], recorded_answers(default.card.version))
        schema["paths"] = {
            path: fill(item, facts(models, defaults.get(kind_of(path), first)))
            for path, item in schema["paths"].items()
        }
        return cast("dict[str, Any]", fill(schema, facts(models, first)))

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's own way to extend the schema


def recorded_answers(version: str) -> dict[str, Any]:
    """Return the recorded answers by operation; of another model than the recorded one, those of any model."""
    recorded = json.loads(RECORDED.read_text())
    return {**recorded[ANY_MODEL], **recorded.get(version, {})}


def _add_examples(paths: dict[str, Any], recorded: Mapping[str, Any]) -> None:
    for operation, example in recorded.items():
        method, path = operation.split()
        answer = paths[path][method.lower()]["responses"]["200"]
        answer["content"]["application/json"]["example"] = example


def json_body(*models: type[BaseModel], required: bool = True) -> dict[str, Any]:
    """The body of a route that parses it by hand: JSON of one of ``models``."""
    content = {"application/json": {"schema": _any_of(models)}}
    return {"requestBody": {"required": required, "content": content}}


def json_or_text(
    models: Sequence[type[BaseModel]], example: Any, text: str, text_example: str
) -> dict[str, Any]:
    """The same: JSON of one of ``models``, or ``text``, a media type, with an example of each."""
    body = json_body(*models)
    content = body["requestBody"]["content"]
    content["application/json"]["example"] = example
    content[text] = {"schema": {"type": "string"}, "example": text_example}
    return body


def json_or_binary(models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    """The same: JSON of one of ``models``, or Triton's binary tensors."""
    body = json_body(*models)
    body["requestBody"]["content"][BINARY] = {
        "schema": {"type": "string", "format": "binary", "description": PARTS}
    }
    return {**body, "parameters": [{"name": JSON_LENGTH, "in": "header", "required": False, **_LENGTH}]}


def _any_of(models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    references = [{"$ref": SCHEMAS.format(model=model.__name__)} for model in models]
    return references[0] if len(references) == 1 else {"anyOf": references}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """``responses`` of a route that may answer with these problems."""
    return {status: problem(*EXAMPLES[status]) for status in statuses}


def protocol_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The same in the serving protocols' own form."""
    return {status: _protocol_error(status) for status in statuses}


def _protocol_error(status: int) -> dict[str, Any]:
    error, detail = EXAMPLES[status]
    return {
        "model": ProtocolError,
        "description": problem_type(error).title,
        "content": {"application/json": {"example": {"error": detail}}},
    }


def problem(error: type[LRPServeError], detail: str) -> dict[str, Any]:
    """Return what ``responses`` say of an error, with an example whose detail is ``detail``."""
    kind = problem_type(error)
    parameter, _, message = detail.partition(": ")
    example = {
        "type": TYPE_PREFIX + kind.slug,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": "0d9c6c1f2f0e4f3b9a55b0a4f1f6b7c8",
        "errors": [{"loc": ["query", parameter], "msg": message}] if kind.status == 422 else [],
    }
    return {
        "description": kind.title,
        "content": {
            MEDIA_TYPE: {"schema": {"$ref": SCHEMAS.format(model=Problem.__name__)}, "example": example}
        },
    }
