"""Errors as RFC 9457 problem details: one form for ours, FastAPI's and Starlette's."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException

from app.errors import HTTPError, InternalError, InvalidParameterError, UnavailableError

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:lrpserve:problem:"


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


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` as a problem."""
    app.add_exception_handler(HTTPError, _ours)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _starlettes)
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        schema = generate()
        _, problems = models_json_schema(
            [(Problem, "serialization")], ref_template="#/components/schemas/{model}"
        )
        schema["components"]["schemas"].update(problems["$defs"])
        return schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's own way to extend the schema


def internal_problem(request_id: str) -> Response:
    """500: says only the request's ID; what happened is in the log under it."""
    return _respond(
        request_id,
        InternalError.status,
        InternalError.title,
        InternalError.slug,
        "Something went wrong on our side. Quote the request ID in 'instance' when you report it.",
    )


def _respond(
    request_id: str,
    status: int,
    title: str,
    slug: str,
    detail: str,
    errors: Sequence[ParameterProblem] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    problem = Problem(
        type=TYPE_PREFIX + slug,
        title=title,
        status=status,
        detail=detail,
        instance=request_id,
        errors=list(errors),
    )
    return Response(problem.model_dump_json(), status, headers, MEDIA_TYPE)


def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPError)
    request_id = request.state.request_id
    if isinstance(error, InternalError):
        log.error("request %s: %s", request_id, error.detail, exc_info=error)
        return internal_problem(request_id)
    errors = (
        [ParameterProblem(loc=["query", error.parameter], msg=error.message)]
        if isinstance(error, InvalidParameterError)
        else []
    )
    headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, UnavailableError) else None
    return _respond(request_id, error.status, error.title, error.slug, error.detail, errors, headers)


def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [_parameter_problem(item) for item in error.errors()]
    detail = "; ".join(f"{problem.loc[-1]}: {problem.msg}" for problem in errors)
    return _respond(
        request.state.request_id,
        InvalidParameterError.status,
        InvalidParameterError.title,
        InvalidParameterError.slug,
        detail,
        errors,
    )


def _parameter_problem(error: Mapping[str, Any]) -> ParameterProblem:
    # The value itself is left out: echoing NaN would break the answer's own JSON.
    unknown = error["type"] == "extra_forbidden"
    message = "no such parameter; see /docs for those there are" if unknown else error["msg"]
    return ParameterProblem(loc=list(error["loc"]), msg=message)


def _starlettes(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    return _respond(
        request.state.request_id,
        error.status_code,
        phrase,
        phrase.lower().replace(" ", "-"),
        _advice(request, error),
        headers=error.headers,
    )


def _advice(request: Request, error: HTTPException) -> str:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return "There is nothing at this address; /docs lists what there is."
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "another method")
        return f"This address does not take {request.method}; use {allowed}."
    return str(error.detail)
