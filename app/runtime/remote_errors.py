"""Errors that are sent from one process to another."""

from traceback import walk_tb

from app.errors import LRPServeError


class RemoteError(LRPServeError):
    """An error of another process; ``detail`` has its type and place."""


def portable(error: BaseException, *also: type[BaseException]) -> BaseException:
    """Return ``error`` itself if it is the project's own or one of ``also``, else a `RemoteError`.

    The text of other errors may quote a user's data, and other types may not unpickle.
    """
    if isinstance(error, (LRPServeError, *also)):
        return error
    places = [f"{frame.f_globals.get('__name__')}:{line}" for frame, line in walk_tb(error.__traceback__)]
    return RemoteError(f"{type(error).__name__} at {', '.join(places[-3:])}")
