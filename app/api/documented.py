"""What OpenAPI says about errors, the same for every route."""

from typing import Any

from app.api.problems import MEDIA_TYPE, TYPE_PREFIX, Problem

EXAMPLES = {
    400: ("Bad request", "bad-request", "the picture is empty; send one picture as multipart part 'file'"),
    401: (
        "Unauthorized",
        "unauthorized",
        "a key is needed; send one of the service's keys as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'",
    ),
    406: ("Not acceptable", "not-acceptable", "cannot answer as text/html; this address has image/png"),
    413: ("Content too large", "too-large", "the body is larger than 8 MiB; send a smaller picture"),
    415: ("Unsupported media type", "unsupported-media-type", "text/plain is no picture"),
    422: ("Invalid parameter", "invalid-parameter", "target: no class 'tiger'; use one of airplane, …"),
    503: ("Service unavailable", "unavailable", "the service is starting; try again in a second"),
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """``responses`` of a route that may answer with these problems."""
    return {status: _problem(status) for status in statuses}


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
            MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}, "example": example}
        },
    }
