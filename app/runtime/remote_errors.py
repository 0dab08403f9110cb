"""Errors that cross from one process to another."""

from traceback import walk_tb

from app.errors import LRPServeError


class RemoteError(LRPServeError):
    """Something went wrong in another process; says what and where, in words of ours."""


def portable(error: BaseException, *also: type[BaseException]) -> BaseException:
    """``error`` as it can be sent: itself if it is ours, or one of ``also``.

    Others' words may quote a user, and others' types may not unpickle.
    """
    if isinstance(error, (LRPServeError, *also)):
        return error
    places = [f"{frame.f_globals.get('__name__')}:{line}" for frame, line in walk_tb(error.__traceback__)]
    return RemoteError(f"{type(error).__name__} at {', '.join(places[-3:])}")
