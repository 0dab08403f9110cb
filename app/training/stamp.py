"""With what and when something was trained or measured."""

import datetime
import platform
from collections.abc import Iterable
from importlib.metadata import version


def versions(libraries: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python and of ``libraries``."""
    return {"python": platform.python_version(), **{name: version(name) for name in libraries}}


def today() -> str:
    """Return the day in UTC, ISO 8601."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()
