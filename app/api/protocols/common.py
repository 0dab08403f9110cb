"""Parsing and checks shared by the serving protocols KServe V1 and Open Inference V2."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import Annotated, Any, TypeVar

from fastapi import Path
from pydantic import BaseModel, Field, ValidationError, WrapValidator

from app.api.http.errors import BadRequestError
from app.api.http.problems import MESSAGES, location, message_of, shortened
from app.api.http.query import REPEATABLE
from app.api.parameters import SingleParameters
from app.api.rule_parameters import with_rule_parameters
from app.errors import InvalidParameterError, LRPServeError, TooLargeError, UnknownModelError
from app.models.card import Kind

T = TypeVar("T")
Body = TypeVar("Body", bound=BaseModel)
Parameters = TypeVar("Parameters", bound=SingleParameters)
Version = Annotated[
    str,
    Path(
        description="First 12 hex digits of the weights' SHA-256, as `/model` says.",
        examples=["{{version}}"],
    ),
]


def _one_message(given: Any, handler: Callable[[Any], Any]) -> Any:
    """Report one error instead of one for each member of the union."""
    try:
        return handler(given)
    except ValidationError:
        raise ValueError("must be text, a number, true or false") from None


Scalar = Annotated[str | bool | int | float, WrapValidator(_one_message)]
Names = Annotated[list[str], Field(fail_fast=True)]
Option = Annotated[str | bool | int | float | Names, WrapValidator(_one_message)]

MAX_IGNORED = 20
"""Unknown names among the options of one input or request."""
MAX_NAME_LENGTH = 60
"""Characters of an unknown name that are sent back; a longer one is not compared with names of options."""
SIMILARITY = 0.75
"""`difflib` ratio from which an unknown name is taken for a misspelt option."""
STATUSES = (400, 404, 408, 413, 415, 422, 503, 504)
"""Statuses that a request with inputs may get besides 200."""


@dataclass(frozen=True)
class Expected:
    """What a request may have; it is sent to the process that parses the request."""

    kind: Kind
    """What the model takes."""
    item: str
    """One input in messages, such as ``picture``."""
    items: int
    """Most inputs of a request."""
    values: int
    """Numbers, lists and objects in the JSON of one input, at most half of the limit; and its commas."""
    names: int
    """Colons in the JSON of one input at most."""
    shape: tuple[int, ...]
    """Of a tensor of one input; () where it has no fixed one."""
    options: frozenset[str]
    """Names of the options of an explanation."""

    def check(self, content: bytes) -> None:
        """Raise `TooLargeError` for more values or names in the JSON than a request can have.

        8 MiB of ``[],`` would take seconds and a gigabyte to parse, and so would the errors for as many unknown
        names. Counting commas, brackets and colons takes a millisecond.
        """
        self._check_number(content, b",[{", 2 * self.items * self.values, "values")
        self._check_number(content, b":", self.items * self.names, "names")

    def check_count(self, count: int, name: str) -> None:
        """Raise `BadRequestError` for a request without inputs, `TooLargeError` for too many."""
        if not count:
            raise BadRequestError(f"{name} is empty; send at least one {self.item}")
        if count > self.items:
            raise TooLargeError(f"{name} has {count} {self.item}s; send at most {self.items} at once")

    def options_of(self, members: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of ``members`` that are options."""
        return {name: value for name, value in members.items() if name in self.options}

    def ignored(self, members: Mapping[str, Any]) -> list[str]:
        """Return the names of ``members`` that are no options, shortened.

        Raises `InvalidParameterError` for a name that is almost an option's, and for very many.
        """
        unknown = [name for name in members if name not in self.options]
        if len(unknown) > MAX_IGNORED:
            raise InvalidParameterError(
                unknown[0], f"no such option, like {len(unknown) - 1} others; leave them out"
            )
        for name in unknown:
            if near := self._nearest(name):
                raise InvalidParameterError(name, f"no such option; did you mean {near}?")
        return [shortened(name, MAX_NAME_LENGTH) for name in unknown]

    def misplaced(self, members: Iterable[str]) -> list[str]:
        """Return the names in ``members`` that are options or almost so.

        Of very many only the first are compared.
        """
        return [name for name in islice(members, MAX_IGNORED) if self._nearest(name)]

    def _nearest(self, name: str) -> str | None:
        """Return the option whose name is ``name`` or most like it, if one is."""
        if len(name) > MAX_NAME_LENGTH:
            return None
        return next(iter(get_close_matches(name.lower(), self.options, 1, SIMILARITY)), None)

    def _check_number(self, content: bytes, signs: bytes, most: int, what: str) -> None:
        if sum(content.count(sign) for sign in signs) > most:
            raise TooLargeError(f"the JSON has more than {most} {what}; send fewer {self.item}s at once")


def parsed(kind: type[Body], content: bytes, context: Expected | None = None) -> Body:
    """Parse JSON; raises `BadRequestError` that names the first invalid member without quoting it."""
    return validated(lambda: kind.model_validate_json(content, context=context))


def validated(validate: Callable[[], Body]) -> Body:
    """Return ``validate()``; raises `BadRequestError` that names the first invalid member without quoting it."""
    try:
        return validate()
    except ValidationError as error:
        name, words = _first(error)
        raise BadRequestError(f"{name}: {words}" if name else words) from None


def parse_options(
    parameters: type[Parameters], given: Mapping[str, Any], without: Collection[str] = ()
) -> Parameters:
    """Parse options of an explanation in JSON as ``parameters``, which are those of HTTP.

    ``without`` names those that this protocol does not have. Raises `InvalidParameterError`.
    """
    for name in given:
        if name in without:
            raise InvalidParameterError(name, MESSAGES["extra_forbidden"])
    as_query = {
        name: [value] if name in REPEATABLE and isinstance(value, str) else _text(value)
        for name, value in given.items()
    }
    try:
        return with_rule_parameters(parameters).model_validate(as_query)
    except ValidationError as error:
        raise InvalidParameterError(*_first(error)) from None


def results_or_error(outcomes: Sequence[T | Exception], name: str) -> list[T]:
    """Return the results; raises the first error, if there is one, with its item's name in front."""
    return [_result(outcome, f"{name}[{index}]") for index, outcome in enumerate(outcomes)]


def known(asked: str, served: Sequence[str]) -> None:
    """Raise `UnknownModelError` unless ``asked``, a model or a version, is one of those ``served``."""
    if asked not in served:
        raise UnknownModelError(f"no such model or version is served here; there is {' and '.join(served)}")


def _result(outcome: T | Exception, place: str) -> T:
    if isinstance(outcome, LRPServeError):
        outcome.locate(place)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _first(error: ValidationError) -> tuple[str, str]:
    """Return the place and the message of the first error."""
    first = error.errors(include_input=False, include_url=False)[0]
    return location(first["loc"]), message_of(first)


def _text(value: str | bool | float | list[str]) -> str | list[str]:
    """Return a value as it would be written in a query."""
    if isinstance(value, list):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)
