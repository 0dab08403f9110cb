"""What the serving protocols, KServe V1 and Open Inference V2, have in common."""

import asyncio
import base64
import binascii
import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Annotated, TypeVar

from fastapi import Path, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from app.api.disconnect import while_connected
from app.api.parameters import REPEATABLE, ExplainParameters
from app.errors import BadRequestError, HTTPError, NotFoundError, TooLargeError
from app.pipeline import Timings

T = TypeVar("T")
Body = TypeVar("Body", bound=BaseModel)
Asked = TypeVar("Asked", bound=BaseModel)
ModelName = Annotated[str, Path(description="Name of a served model.", examples=["minivgg-cifar10"])]
Version = Annotated[
    str,
    Path(
        description="First 12 hex digits of the weights' SHA-256, as `/model` says.",
        examples=["a5faffcb1054"],
    ),
]
Scalar = str | bool | int | float

WHITESPACE = b" \t\r\n"
STATUSES = (400, 404, 408, 413, 415, 422, 503, 504)
"""What may go wrong with a request that asks for something to be computed."""


def parse(request: Request, kind: type[Body], content: bytes) -> Body:
    """A request's JSON; raises 400 saying what is wrong where, without quoting it.

    Raises 413 for more values than a request can have: 8 MiB of ``[],`` would hold the event loop for seconds
    and unfold to a gigabyte. Counting its commas and brackets takes a millisecond.
    """
    about = request.state.about_model
    most = 2 * about.limits.max_pictures * math.prod(about.input_size)
    if sum(map(content.count, (b",", b"[", b"{"))) > most:
        raise TooLargeError(f"the JSON has more than {most} values; send fewer pictures at once")
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise BadRequestError(f"{place + ': ' if place else ''}{first['msg']}") from None


def options(
    kind: type[Asked], given: Mapping[str, Scalar | list[str]], without: Collection[str] = ()
) -> Asked:
    """The options of our own routes, which are query parameters there, out of JSON.

    ``without`` names those that make no sense here. Raises what FastAPI does: 422.
    """
    as_query = {
        name: [value] if name in REPEATABLE and isinstance(value, str) else _text(value)
        for name, value in given.items()
    }
    fields = set(ExplainParameters.model_fields) - set(without)
    unknown = [
        {"type": "extra_forbidden", "loc": ("parameters", name), "msg": ""}
        for name in as_query
        if name not in fields
    ]
    if unknown:
        raise RequestValidationError(unknown)
    try:
        return kind.model_validate(as_query)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None


def picture(element: bytes) -> bytes:
    """A picture's file out of its base64; bytes that are no base64 are taken for the file itself."""
    try:
        return base64.b64decode(element.translate(None, WHITESPACE), validate=True)
    except binascii.Error:
        return element


async def together(request: Request, work: Sequence[Callable[[Timings], Awaitable[T]]], name: str) -> list[T]:
    """The results of all items of one request, computed at the same time, so that they fill one batch.

    The first error counts and says which item it is about. The longest of each stage is reported.
    """
    limit: int = request.state.about_model.limits.max_pictures
    if not work:
        raise BadRequestError(f"{name} is empty; send at least one picture")
    if len(work) > limit:
        raise TooLargeError(f"{name} has {len(work)} pictures; send at most {limit} at once")
    timings = [Timings() for _ in work]
    outcomes = await while_connected(
        request,
        asyncio.gather(
            *(item(clock) for item, clock in zip(work, timings, strict=True)), return_exceptions=True
        ),
    )
    request.state.timings.longest_of(timings)
    return [_result(outcome, f"{name}[{index}]") for index, outcome in enumerate(outcomes)]


def known(asked: str, served: Sequence[str]) -> None:
    """Raise 404 unless ``asked``, a model or a version, is one of those ``served``."""
    if asked not in served:
        raise NotFoundError(f"no such model or version is served here; there is {' and '.join(served)}")


def _result(outcome: T | BaseException, place: str) -> T:
    if isinstance(outcome, HTTPError):
        outcome.detail = f"{place}: {outcome.detail}"
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _text(value: Scalar | list[str]) -> str | list[str]:
    """A scalar as it would stand in a query."""
    if isinstance(value, list):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)
