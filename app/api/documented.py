"""What OpenAPI says about errors, the same for every route, and about what FastAPI does not see."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app.api.problems import MEDIA_TYPE, TYPE_PREFIX, Problem, ProtocolError

EXAMPLES = {
    400: ("Bad request", "bad-request", "the picture is empty; send one picture as multipart part 'file'"),
    401: (
        "Unauthorized",
        "unauthorized",
        "a key is needed; send one of the service's keys as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'",
    ),
    404: ("Not found", "not-found", "no model 'vgg16' is served here; there is minivgg-cifar10"),
    406: ("Not acceptable", "not-acceptable", "cannot answer as text/html; this address has image/png"),
    408: ("Request timeout", "too-slow", "the body did not arrive within 15 s; send it faster or smaller"),
    413: ("Content too large", "too-large", "the body is larger than 8 MiB; send a smaller picture"),
    415: ("Unsupported media type", "unsupported-media-type", "text/plain is no picture"),
    422: ("Invalid parameter", "invalid-parameter", "target: no class 'tiger'; use one of airplane, …"),
    504: ("Gateway timeout", "deadline", "waited 5 s without a turn and was not computed; try again later"),
    503: ("Service unavailable", "unavailable", "the service is starting; try again in a second"),
}


SCHEMAS = "#/components/schemas/{model}"


def install(app: FastAPI, models: Sequence[type[BaseModel]]) -> None:
    """Add to the schema of ``app`` these ``models``, which its routes read or write by hand."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        schema = generate()
        _, found = models_json_schema([(model, "validation") for model in models], ref_template=SCHEMAS)
        schema["components"]["schemas"].update(found["$defs"])
        return schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's own way to extend the schema


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """The body of a route that parses it by hand."""
    schema = {"$ref": SCHEMAS.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """``responses`` of a route that may answer with these problems."""
    return {status: _problem(status) for status in statuses}


def protocol_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The same in the serving protocols' own form."""
    return {status: _protocol_error(status) for status in statuses}


def _protocol_error(status: int) -> dict[str, Any]:
    title, _, detail = EXAMPLES[status]
    return {
        "model": ProtocolError,
        "description": title,
        "content": {"application/json": {"example": {"error": detail}}},
    }


def _problem(status: int) -> dict[str, Any]:
    title, slug, detail = EXAMPLES[status]
    example = {
        "type": TYPE_PREFIX + slug,
        "title": title,
        "status": status,
        "detail": detail,
        "instance": "0d9c6c1f2f0e4f3b9a55b0a4f1f6b7c8",
        "errors": [],
    }
    return {
        "description": title,
        "content": {
            MEDIA_TYPE: {"schema": {"$ref": SCHEMAS.format(model=Problem.__name__)}, "example": example}
        },
    }
