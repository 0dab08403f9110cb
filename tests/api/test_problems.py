"""Errors and the HTTP statuses that they are answered with."""

from collections.abc import Iterator

import pytest

import app.main  # noqa: F401 # imports every module that the service runs, and with it every error type
from app.api.http.errors import BadRequestError
from app.api.http.problem_types import PROBLEM_TYPES, ProblemType, problem_type
from app.errors import InternalError, LRPServeError, PublicError, RequestError, UnavailableError
from app.runtime.remote_errors import RemoteError


def subclasses(kind: type[Exception]) -> Iterator[type[Exception]]:
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


SHOWN = [
    kind for kind in subclasses(PublicError) if kind is not RequestError and kind.__module__[:4] == "app."
]


@pytest.mark.parametrize("kind", SHOWN)
def test_every_error_that_a_client_may_see_has_one_row(kind: type[Exception]) -> None:
    assert [kind for base in kind.__mro__ if base in PROBLEM_TYPES] == [kind]


def test_a_row_has_a_status_of_the_matching_class() -> None:
    for kind in SHOWN:
        assert problem_type(kind).status // 100 == (4 if issubclass(kind, RequestError) else 5)


def test_a_slug_means_one_problem_type() -> None:
    by_slug: dict[str, ProblemType] = {}
    for row in PROBLEM_TYPES.values():
        assert by_slug.setdefault(row.slug, row) == row


def test_a_subclass_has_the_row_of_its_nearest_base() -> None:
    class EmptyBodyError(BadRequestError):
        """Has no row of its own."""

    assert problem_type(EmptyBodyError) is PROBLEM_TYPES[BadRequestError]
    assert problem_type(UnavailableError).headers == {"Retry-After": "1"}


@pytest.mark.parametrize("kind", [LRPServeError, RemoteError, RuntimeError])
def test_an_error_that_no_client_may_see_is_an_internal_one(kind: type[Exception]) -> None:
    assert problem_type(kind) is PROBLEM_TYPES[InternalError]


def test_error_types_below_the_interface_say_nothing_of_http() -> None:
    for kind in (LRPServeError, *subclasses(LRPServeError)):
        assert not {"status", "title", "slug", "headers"} & set(dir(kind))
