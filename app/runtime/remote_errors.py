"""Replies that are sent from one process to another: a result, or an error as data.

Exceptions are not pickled: unpickling calls their constructors, which fail for types with other arguments than
``args``, and the receiver would fail with them.
"""

import pickle
from collections.abc import Callable, Iterator
from traceback import walk_tb
from typing import Any, NamedTuple

from app.errors import LRPServeError
from app.models.protocol import ModelLostError, NoMemoryError


class RemoteError(LRPServeError):
    """An error of another process; ``detail`` has its type and place."""


class ErrorData(NamedTuple):
    """An error of one of the project's types."""

    kind: str
    """Full name of its type; the receiver makes a `RemoteError` of a kind that it does not know."""
    text: str
    attributes: dict[str, object]
    """Texts, and tuples of such."""


def pack(function: Callable[[], object]) -> bytes:
    """Return the reply for the result of ``function()``, or for the error that it raises."""
    try:
        return pickle.dumps((function(), None), pickle.HIGHEST_PROTOCOL)
    except BaseException as error:  # noqa: BLE001 # the caller receives it
        return pack_error(error)


def pack_error(error: BaseException) -> bytes:
    """Return the reply for an error."""
    return pickle.dumps((None, _data(error)), pickle.HIGHEST_PROTOCOL)


def unpack(reply: bytes) -> tuple[Any, BaseException | None]:
    """Return result and error of a reply; never raises."""
    try:
        result, error = pickle.loads(reply)  # noqa: S301 # written by our own process
        return result, None if error is None else _restored(error)
    except Exception as error:  # noqa: BLE001 # the caller receives it
        return None, RemoteError(_type_and_place(error))


def _data(error: BaseException) -> ErrorData:
    """Return ``error`` as data. The text of other errors than the project's may quote a user's data: left out."""
    if not isinstance(error, (LRPServeError, NoMemoryError, ModelLostError)):
        return ErrorData(_name(RemoteError), text := _type_and_place(error), {"detail": text})
    attributes = {name: value for name, value in vars(error).items() if _is_text(value)}
    return ErrorData(_name(type(error)), str(error), attributes)


def _is_text(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, tuple) and all(map(_is_text, value)))


def _restored(data: ErrorData) -> BaseException:
    """Return the error, without a call to its constructor."""
    known: list[type[BaseException]] = [NoMemoryError, ModelLostError, *_subclasses(LRPServeError)]
    kind = {_name(kind): kind for kind in known}.get(data.kind)
    if kind is None:
        return RemoteError(f"{data.kind}: {data.text}")
    error = kind.__new__(kind, data.text)
    vars(error).update(data.attributes)
    return error


def _name(kind: type[BaseException]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _subclasses(kind: type[LRPServeError]) -> Iterator[type[LRPServeError]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _type_and_place(error: BaseException) -> str:
    places = [f"{frame.f_globals.get('__name__')}:{line}" for frame, line in walk_tb(error.__traceback__)]
    return f"{type(error).__name__} at {', '.join(places[-3:])}"
