"""Errors as RFC 9457 problem details: one form for ours, FastAPI's and Starlette's."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from app.errors import HTTPError, InternalError, InvalidParameterError
from app.logs import fields

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:lrpserve:problem:"
PROTOCOLS = ("/v1", "/v2")
"""Below these addresses errors have the serving protocols' own form."""
QUOTE_THE_ID = "Something went wrong on our side. Quote the X-Request-ID when you report it."


class ParameterProblem(BaseModel):
    """One parameter and what is wrong with it."""

    loc: list[str | int] = Field(examples=[["query", "epsilon"]])
    msg: str = Field(examples=["Input should be greater than 0"])


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(examples=[TYPE_PREFIX + "invalid-parameter"])
    title: str = Field(examples=["Invalid parameter"])
    status: int = Field(examples=[422])
    detail: str = Field(
        description="What is wrong and what to do.",
        examples=["epsilon: Input should be greater than 0"],
    )
    instance: str = Field(description="The request's ID.", examples=["8e0f7c1d5b1a4a6f"])
    errors: list[ParameterProblem] = []


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
        errors = [_parameter_problem(item) for item in error.errors()]
        detail = "; ".join(f"{problem.loc[-1]}: {problem.msg}" for problem in errors)
        return _problem(InvalidParameterError, detail, request_id, errors)
    if isinstance(error, HTTPException):
        phrase = HTTPStatus(error.status_code).phrase
        return Problem(
            type=TYPE_PREFIX + phrase.lower().replace(" ", "-"),
            title=phrase,
            status=error.status_code,
            detail=_advice(request, error),
            instance=request_id,
        )
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


def _parameter_problem(error: Mapping[str, Any]) -> ParameterProblem:
    # The value itself is left out: echoing NaN would break the answer's own JSON.
    unknown = error["type"] == "extra_forbidden"
    message = "no such parameter; see /docs for those there are" if unknown else error["msg"]
    return ParameterProblem(loc=list(error["loc"]), msg=message)


def _advice(request: Request, error: HTTPException) -> str:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return "There is nothing at this address; /docs lists what there is."
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "another method")
        return f"This address does not take {request.method}; use {allowed}."
    return str(error.detail)
