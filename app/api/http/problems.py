"""Errors as RFC 9457 problem details: one form for ours, FastAPI's and Starlette's."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import AfterValidator, BaseModel, Field
from starlette.exceptions import HTTPException

from app.errors import (
    HTTPError,
    InternalError,
    InvalidParameterError,
    MethodNotAllowedError,
    NotFoundError,
)
from app.telemetry.logs import fields

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:lrpserve:problem:"
PROTOCOLS = ("/v1", "/v2")
"""Below these addresses errors have the serving protocols' own form."""
QUOTE_THE_ID = "Something went wrong on our side. Quote the X-Request-ID when you report it."

MOST_ERRORS = 10
"""Parameters of one request that an answer speaks of."""
LONGEST_NAME, LONGEST_MESSAGE, LONGEST_DETAIL = 100, 500, 1000
"""Characters of an answer's parts that a client's own may fill."""
WORDS: Mapping[str, str] = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "enum": "must be {expected}",
    "extra_forbidden": "no such parameter; see /docs for those there are",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be {ge:g} or more",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of fewer digits",
    "int_type": "must be a whole number",
    "json_invalid": "the body is no JSON: {error}",
    "list_type": "must be a list",
    "literal_error": "must be {expected}",
    "missing": "is missing",
    "model_type": "must be an object",
    "string_too_long": "is longer than {max_length} characters; nothing that there is has such a name",
    "string_type": "must be text",
    "too_long": "has {actual_length} entries; give at most {max_length}",
    "too_short": "has {actual_length} entries; give at least {min_length}",
    "value_error": "{error}",
}
"""What pydantic finds, by its name for it, in words for people."""


def shortened(text: str, most: int) -> str:
    """``text`` without its middle where it is longer: what a client sent is repeated there, of any length."""
    left_out = len(text) - most
    return text if left_out <= 0 else f"{text[: most // 2]} … {left_out} more … {text[-(most // 2) :]}"


def cut(most: int) -> AfterValidator:
    """`shortened` for a field."""
    return AfterValidator(partial(shortened, most=most))


class ParameterProblem(BaseModel):
    """One parameter and what is wrong with it."""

    loc: list[Annotated[str, cut(LONGEST_NAME)] | int] = Field(examples=[["query", "epsilon"]])
    msg: Annotated[str, cut(LONGEST_MESSAGE)] = Field(examples=["must be a finite number"])


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(examples=[TYPE_PREFIX + "invalid-parameter"])
    title: str = Field(examples=["Invalid parameter"])
    status: int = Field(examples=[422])
    detail: Annotated[str, cut(LONGEST_DETAIL)] = Field(
        description="What is wrong and what to do.",
        examples=["epsilon: must be a finite number"],
    )
    instance: str = Field(description="The request's ID.", examples=["8e0f7c1d5b1a4a6f"])
    errors: list[ParameterProblem] = Field([], description=f"The first {MOST_ERRORS}.")


class ProtocolError(BaseModel):
    """An error as the serving protocols have it."""

    error: str = Field(
        description="What is wrong and what to do.", examples=["no model 'vgg16' is served here"]
    )


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` as a problem."""

    async def handle(request: Request, error: Exception) -> Response:
        return answer(request, error)  # a plain function would take a thread, and wait for one under load

    for kind in (HTTPError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, handle)


def answer(request: Request, error: Exception) -> Response:
    """``error`` as an answer."""
    problem = problem_of(error, request)
    content, media_type = content_of(problem, request.url.path)
    return Response(content, problem.status, _headers(error), media_type)


def content_of(problem: Problem, path: str) -> tuple[str, str]:
    """A problem as it is written at this address, and its media type."""
    if path.startswith(PROTOCOLS):
        return ProtocolError(error=problem.detail).model_dump_json(), "application/json"
    return problem.model_dump_json(), MEDIA_TYPE


def problem_of(error: Exception, request: Request) -> Problem:
    """``error`` in words for the client; what is not meant for it is logged and says only the request's ID."""
    request_id = request.state.request_id
    if isinstance(error, RequestValidationError):
        return _of_parameters(error.errors(), request_id)
    if isinstance(error, HTTPException):
        error = _in_our_terms(request, error)
    if isinstance(error, InvalidParameterError):
        errors = [ParameterProblem(loc=["query", error.parameter], msg=error.message)]
        return _problem(type(error), error.detail, request_id, errors)
    if isinstance(error, HTTPError) and not isinstance(error, InternalError):
        return problem_in_its_words(error, request_id)
    log.error("failed", extra=fields(id=request_id), exc_info=error)
    if not isinstance(error, InternalError):  # that one was counted where it was raised
        request.state.metrics.failed("crash")
    return _problem(InternalError, QUOTE_THE_ID, request_id)


def problem_in_its_words(error: HTTPError, request_id: str) -> Problem:
    """``error`` with the detail that it was raised with."""
    return _problem(type(error), error.detail, request_id)


def _problem(
    kind: type[HTTPError], detail: str, request_id: str, errors: Sequence[ParameterProblem] = ()
) -> Problem:
    return Problem(
        type=TYPE_PREFIX + kind.slug,
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=request_id,
        errors=list(errors),
    )


def _headers(error: Exception) -> Mapping[str, str] | None:
    return error.headers if isinstance(error, (HTTPError, HTTPException)) else None


def _of_parameters(found: Sequence[Mapping[str, Any]], request_id: str) -> Problem:
    # The values themselves are left out: echoing NaN would break the answer's own JSON.
    errors = [ParameterProblem(loc=list(one["loc"]), msg=in_words(one)) for one in found[:MOST_ERRORS]]
    sentences = [f"{place(problem.loc[1:])}: {problem.msg}" for problem in errors]
    if len(found) > MOST_ERRORS:
        sentences.append(f"and {len(found) - MOST_ERRORS} more")
    return _problem(InvalidParameterError, "; ".join(sentences), request_id, errors)


def in_words(error: Mapping[str, Any]) -> str:
    """What is wrong, of one of pydantic's errors."""
    words = WORDS.get(error["type"])
    return words.format_map(error.get("ctx", {})) if words else str(error["msg"])


def place(loc: Sequence[str | int]) -> str:
    """Where it is, as one would write it: ``instances[0].rule``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{shortened(part, LONGEST_NAME)}" for part in loc)
    return "".join(parts).removeprefix(".")


def _in_our_terms(request: Request, error: HTTPException) -> Exception:
    """What Starlette raises where it finds no route, as ours; anything else nobody foresaw."""
    if error.status_code == NotFoundError.status:
        return NotFoundError("There is nothing at this address; /docs lists what there is.")
    if error.status_code == MethodNotAllowedError.status:
        allowed = (error.headers or {}).get("Allow", "another method")
        return MethodNotAllowedError(f"This address does not take {request.method}; use {allowed}.")
    return error
