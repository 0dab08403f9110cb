"""Packages that only some commands need."""

from importlib.util import find_spec

from app.errors import DataError


def require(extra: str, purpose: str, *packages: str) -> None:
    """Raise `DataError` if one of ``packages``, which the project's ``extra`` installs, is not installed."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise DataError(f'{purpose} needs {", ".join(missing)}: pip install "lrpserve[{extra}]"')
