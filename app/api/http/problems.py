"""Converts errors to RFC 9457 problem details: the project's own, FastAPI's and Starlette's."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import AfterValidator, BaseModel, Field
from starlette.exceptions import HTTPException

from app.api.http.errors import MethodNotAllowedError, NotFoundError
from app.api.http.problem_types import problem_type
from app.api.http.root_path import local_path, prefix_of
from app.errors import InternalError, InvalidFeaturesError, InvalidParameterError, PublicError
from app.telemetry.logs import fields
from app.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:lrpserve:problem:"
PROTOCOLS = ("/v1", "/v2")
"""Prefixes of the addresses whose errors have the form of the serving protocols."""
INTERNAL = "Something went wrong on our side. Quote the X-Request-ID when you report it."
"""Detail of an error that is not public."""

MAX_ERRORS = 10
"""Number of invalid parameters that one answer lists."""
MAX_NAME, MAX_MESSAGE, MAX_DETAIL = 100, 500, 1000
"""Length in characters of fields that may repeat what the client sent."""
MESSAGES: Mapping[str, str] = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "enum": "must be {expected}",
    "extra_forbidden": "no such parameter; /docs lists all parameters",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be {ge:g} or more",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of fewer digits",
    "int_type": "must be a whole number",
    "json_invalid": "the body is not valid JSON: {error}",
    "less_than_equal": "must be {le:g} or less",
    "list_type": "must be a list",
    "literal_error": "must be {expected}",
    "missing": "is missing",
    "model_type": "must be an object",
    "string_too_long": "is longer than {max_length} characters",
    "string_type": "must be text",
    "too_long": "has {actual_length} entries; give at most {max_length}",
    "too_short": "has {actual_length} entries; give at least {min_length}",
    "value_error": "{error}",
}
"""Messages by the type of pydantic's error."""


def shortened(text: str, max_length: int) -> str:
    """Return ``text``, with its middle left out if it is longer than ``max_length``."""
    left_out = len(text) - max_length
    if left_out <= 0:
        return text
    return f"{text[: max_length // 2]} … {left_out} more … {text[-(max_length // 2) :]}"


def cut(max_length: int) -> AfterValidator:
    """Return a validator that applies `shortened` to a field, and replaces halves of surrogate pairs by ``?``.

    Strings of JSON that was sent can contain such halves; JSON in UTF-8 cannot.
    """
    return AfterValidator(lambda text: shortened(text, max_length).encode(errors="replace").decode())


class ParameterProblem(BaseModel):
    """One parameter and what is wrong with it."""

    loc: list[Annotated[str, cut(MAX_NAME)] | int] = Field(examples=[["query", "epsilon"]])
    msg: Annotated[str, cut(MAX_MESSAGE)] = Field(examples=["must be a finite number"])


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(examples=[TYPE_PREFIX + "invalid-parameter"])
    title: str = Field(examples=["Invalid parameter"])
    status: int = Field(examples=[422])
    detail: Annotated[str, cut(MAX_DETAIL)] = Field(
        description="What is wrong and what to do.",
        examples=["epsilon: must be a finite number"],
    )
    instance: str = Field(description="The request's ID.", examples=["8e0f7c1d5b1a4a6f"])
    errors: list[ParameterProblem] = Field([], description=f"The first {MAX_ERRORS}.")


class ProtocolError(BaseModel):
    """An error in the form of the serving protocols."""

    error: str = Field(
        description="What is wrong and what to do.", examples=["no model 'vgg16' is served here"]
    )


def install(app: FastAPI) -> None:
    """Register a handler that answers every error of ``app`` as a problem."""

    async def handle(request: Request, error: Exception) -> Response:
        return answer(
            request, error
        )  # Starlette runs a plain function in a thread, which delays it under load

    for kind in (PublicError, InternalError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, handle)


def answer(request: Request, error: Exception) -> Response:
    """Return the HTTP response for ``error``."""
    problem = problem_of(error, request)
    content, media_type = content_of(problem, local_path(request.scope))
    return Response(content, problem.status, _headers(error), media_type)


def content_of(problem: Problem, path: str) -> tuple[str, str]:
    """Return the body for ``problem`` at the address ``path``, and its media type."""
    if path.startswith(PROTOCOLS):
        return ProtocolError(error=problem.detail).model_dump_json(), "application/json"
    return problem.model_dump_json(), MEDIA_TYPE


def problem_of(error: Exception, request: Request) -> Problem:
    """Return the problem for ``error``.

    An error that is not public is logged; its problem contains the request's ID only.
    """
    request_id = request.state.request_id
    if isinstance(error, RequestValidationError):
        return _of_validation_errors(error.errors(), request_id)
    if isinstance(error, HTTPException):
        error = _of_routing(request, error)
    if isinstance(error, InvalidParameterError):
        errors = [ParameterProblem(loc=[error.place, error.parameter], msg=error.message)]
        return _problem(type(error), error.detail, request_id, errors)
    if isinstance(error, InvalidFeaturesError):
        errors = [
            ParameterProblem(loc=["body", *filter(None, [error.place]), name], msg=message)
            for name, message in error.problems[:MAX_ERRORS]
        ]
        return _problem(type(error), error.detail, request_id, errors)
    if isinstance(error, PublicError):
        return problem_of_public(error, request_id)
    log.error("failed", extra=fields(id=request_id), exc_info=error)
    if not isinstance(error, InternalError):  # which is counted where it is raised
        metrics: Metrics = request.state.metrics
        metrics.of_model(getattr(request.state, "model", "")).failed("crash")
    return _problem(InternalError, INTERNAL, request_id)


def problem_of_public(error: PublicError, request_id: str) -> Problem:
    """Return the problem for an error whose detail is shown."""
    return _problem(type(error), error.detail, request_id)


def _problem(
    error: type[Exception], detail: str, request_id: str, errors: Sequence[ParameterProblem] = ()
) -> Problem:
    kind = problem_type(error)
    return Problem(
        type=TYPE_PREFIX + kind.slug,
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=request_id,
        errors=list(errors),
    )


def _headers(error: Exception) -> Mapping[str, str] | None:
    return error.headers if isinstance(error, HTTPException) else problem_type(type(error)).headers


def _of_validation_errors(found: Sequence[Mapping[str, Any]], request_id: str) -> Problem:
    # The values are left out: NaN would make the answer's JSON invalid.
    errors = [ParameterProblem(loc=list(one["loc"]), msg=message_of(one)) for one in found[:MAX_ERRORS]]
    sentences = [f"{location(problem.loc[1:])}: {problem.msg}" for problem in errors]
    if len(found) > MAX_ERRORS:
        sentences.append(f"and {len(found) - MAX_ERRORS} more")
    return _problem(RequestValidationError, "; ".join(sentences), request_id, errors)


def message_of(error: Mapping[str, Any]) -> str:
    """Return the message for one of pydantic's errors."""
    template = MESSAGES.get(error["type"])
    return template.format_map(error.get("ctx", {})) if template else str(error["msg"])


def location(loc: Sequence[str | int]) -> str:
    """Return a location in the form ``instances[0].rule``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{shortened(part, MAX_NAME)}" for part in loc)
    return "".join(parts).removeprefix(".")


def _of_routing(request: Request, error: HTTPException) -> Exception:
    """Convert what Starlette raises if no route matches; return any other error as it is."""
    if error.status_code == HTTPStatus.NOT_FOUND:
        docs = f"{prefix_of(request.scope)}/docs"
        return NotFoundError(f"There is nothing at this address; {docs} lists all addresses.")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "another method")
        return MethodNotAllowedError(f"This address does not take {request.method}; use {allowed}.")
    return error
