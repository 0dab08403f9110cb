"""Errors between processes are data: every type arrives, and no text of a user."""

import pickle

import pytest

from app.errors import (
    InvalidFeaturesError,
    InvalidParameterError,
    LRPServeError,
    PublicError,
    RefusedToStartError,
)
from app.models.protocol import ModelLostError, NoMemoryError
from app.runtime.remote_errors import ErrorData, RemoteError, pack, unpack


class TwoArgumentsError(PublicError):
    """Exceptions of this type cannot be unpickled."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")
        self.why = why


class Unloadable:
    """Can be pickled, but not unpickled."""

    def __reduce__(self) -> tuple[type[int], tuple[str]]:
        return int, ("SECRET",)


def raised(error: BaseException) -> BaseException | None:
    def fail() -> None:
        raise error

    return unpack(pack(fail))[1]


def test_a_result_arrives() -> None:
    assert unpack(pack(lambda: {"a": 1})) == ({"a": 1}, None)


@pytest.mark.parametrize(
    "error",
    [
        RefusedToStartError("no such card"),
        InvalidParameterError("epsilon", "must be positive"),
        InvalidFeaturesError([("a", "is missing"), ("b", "is text")], "row 3"),
        InvalidFeaturesError([(f"x{number}", "no such feature") for number in range(100)]),
        TwoArgumentsError("this", "because"),
        ModelLostError("gone"),
        NoMemoryError(),
    ],
)
def test_errors_of_the_project_keep_type_text_and_attributes(error: BaseException) -> None:
    received = raised(error)
    assert type(received) is type(error)
    assert (str(received), vars(received)) == (str(error), vars(error))


def test_others_keep_their_type_and_place_but_not_their_text() -> None:
    received = raised(ValueError("SECRET"))
    assert isinstance(received, RemoteError)
    assert received.detail.startswith("ValueError at ")
    assert "SECRET" not in received.detail


def test_a_type_that_the_receiver_does_not_know_becomes_a_remote_error() -> None:
    received = unpack(pickle.dumps((None, ErrorData("GoneError", "its text", {}))))[1]
    assert isinstance(received, RemoteError)
    assert received.detail == "GoneError: its text"


@pytest.mark.parametrize("reply", [pickle.dumps((Unloadable(), None)), b"", b"noise", pickle.dumps(None)])
def test_a_reply_that_does_not_unpickle_is_an_error_and_says_nothing(reply: bytes) -> None:
    result, error = unpack(reply)
    assert result is None
    assert isinstance(error, LRPServeError)
    assert "SECRET" not in str(error)


def test_a_result_that_does_not_pickle_is_an_error() -> None:
    assert isinstance(unpack(pack(lambda: lambda: None))[1], RemoteError)
