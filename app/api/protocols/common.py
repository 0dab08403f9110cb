"""What the serving protocols, KServe V1 and Open Inference V2, have in common."""

import base64
import binascii
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Path
from pydantic import BaseModel, Field, ValidationError, WrapValidator

from app.api.http.errors import BadRequestError, NotFoundError
from app.api.http.problems import WORDS, in_words, place
from app.api.parameters import REPEATABLE
from app.api.schemas import AboutModel
from app.errors import InvalidParameterError, LRPServeError, TooLargeError

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


def _said_once(given: Any, handler: Callable[[Any], Any]) -> Any:
    """Not once for each type that it might have been."""
    try:
        return handler(given)
    except ValidationError:
        raise ValueError("must be text, a number, true or false") from None


Scalar = Annotated[str | bool | int | float, WrapValidator(_said_once)]
Names = Annotated[list[str], Field(fail_fast=True)]
Option = Annotated[str | bool | int | float | Names, WrapValidator(_said_once)]

WHITESPACE = b" \t\r\n"
URL_SAFE = bytes.maketrans(b"-_", b"+/")
DATA_URL = re.compile(rb"data:[^,]{0,200};base64,", re.IGNORECASE)
NAMES_A_PICTURE = 100
"""Most colons in a request's JSON for each picture that it may have: all options and overrides fit."""
STATUSES = (400, 404, 408, 413, 415, 422, 503, 504)
"""What may go wrong with a request that asks for something to be computed."""


def parse(about: AboutModel, kind: type[Body], content: bytes) -> Body:
    """A request's JSON; raises 400 saying what is wrong where, without quoting it.

    Raises 413 for more values or names than a request can have: 8 MiB of ``[],`` would hold the event loop for
    seconds and unfold to a gigabyte, and so would the errors of as many unknown names. Counting commas,
    brackets and colons takes a millisecond.
    """
    pictures = about.limits.max_pictures
    _refuse_more(content, b",[{", 2 * pictures * math.prod(about.input_size), "values")
    _refuse_more(content, b":", pictures * NAMES_A_PICTURE, "names")
    try:
        return kind.model_validate_json(content, context=pictures)
    except ValidationError as error:
        name, words = _first(error)
        raise BadRequestError(f"{name}: {words}" if name else words) from None


def parse_options(kind: type[Asked], given: Mapping[str, Any], without: Collection[str] = ()) -> Asked:
    """The options of our own routes, which are query parameters there, out of JSON.

    ``without`` names those that make no sense here. Raises `InvalidParameterError`.
    """
    as_query = {
        name: [value] if name in REPEATABLE and isinstance(value, str) else _text(value)
        for name, value in given.items()
    }
    for name in as_query:
        if name in without:
            raise InvalidParameterError(name, WORDS["extra_forbidden"])
    try:
        return kind.model_validate(as_query)
    except ValidationError as error:
        raise InvalidParameterError(*_first(error)) from None


def picture(element: bytes) -> bytes:
    """A picture's file out of its base64, of either alphabet, with or without padding, or as a ``data:`` URL;
    bytes that are no base64 are taken for the file itself.
    """
    url = DATA_URL.match(element)
    text = element[url.end() if url else 0 :].translate(URL_SAFE, WHITESPACE).rstrip(b"=")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return element


def check_count(pictures: int, most: int, name: str) -> None:
    """Raise 400 for a request without pictures, 413 for more than it may have."""
    if not pictures:
        raise BadRequestError(f"{name} is empty; send at least one picture")
    if pictures > most:
        raise TooLargeError(f"{name} has {pictures} pictures; send at most {most} at once")


def results_or_error(outcomes: Sequence[T | Exception], name: str) -> list[T]:
    """Return the results if all items have one; else raise the first error, which then names its item."""
    return [_result(outcome, f"{name}[{index}]") for index, outcome in enumerate(outcomes)]


def known(asked: str, served: Sequence[str]) -> None:
    """Raise 404 unless ``asked``, a model or a version, is one of those ``served``."""
    if asked not in served:
        raise NotFoundError(f"no such model or version is served here; there is {' and '.join(served)}")


def _result(outcome: T | Exception, place: str) -> T:
    if isinstance(outcome, LRPServeError):
        outcome.detail = f"{place}: {outcome.detail}"
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _refuse_more(content: bytes, signs: bytes, most: int, what: str) -> None:
    if sum(content.count(sign) for sign in signs) > most:
        raise TooLargeError(f"the JSON has more than {most} {what}; send fewer pictures at once")


def _first(error: ValidationError) -> tuple[str, str]:
    """Where the first of the errors is, and what it is."""
    first = error.errors(include_input=False, include_url=False)[0]
    return place(first["loc"]), in_words(first)


def _text(value: str | bool | float | list[str]) -> str | list[str]:
    """A scalar as it would stand in a query."""
    if isinstance(value, list):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)
