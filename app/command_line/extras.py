"""Packages that only some commands need."""

from importlib.util import find_spec

from app.errors import DataError


def require(package: str, extra: str, purpose: str) -> None:
    """Raise `DataError` if a package is not installed."""
    if find_spec(package) is None:
        raise DataError(f'{purpose} needs {package}: pip install "lrpserve[{extra}]"')
