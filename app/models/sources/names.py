"""Names: of classes, where they are missing or not unique, and what is installed or meant."""

import difflib
import importlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from app.errors import SourceError


def read_classes(path: Path) -> tuple[str, ...]:
    """Return names of classes from a text file, one on each line; raises `SourceError`."""
    try:
        names = tuple(line.strip() for line in path.read_text("utf-8-sig").splitlines())
    except OSError as error:
        raise SourceError(f"--classes: {path} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise SourceError(f"--classes: {path} is not UTF-8 text with one name on each line") from None
    while names and not names[-1]:
        names = names[:-1]
    if len(names) < 2:
        raise SourceError(f"--classes: {path} must have at least two names, one on each line")
    for line, name in enumerate(names, 1):
        if not name:
            raise SourceError(f"--classes: line {line} of {path} is empty; every class needs a name")
        if name in names[: line - 1]:
            raise SourceError(f"--classes: {path} has {name!r} twice; every class needs a name of its own")
    return names


def told_apart(names: Iterable[str]) -> tuple[str, ...]:
    """Return ``names`` with the index of its class appended to each that occurs twice, as ImageNet's cranes."""
    listed = list(names)
    counts = Counter(listed)
    return tuple(name if counts[name] == 1 else f"{name} ({index})" for index, name in enumerate(listed))


def numbered(noun: str, count: int) -> tuple[str, ...]:
    """Return names for outputs of which nothing is known, such as ``class_0``; ``noun`` if there is only one."""
    return (noun,) if count == 1 else tuple(f"{noun}_{index}" for index in range(count))


def meant(name: str, known: Sequence[str]) -> str:
    """Return a sentence that proposes names like ``name``, or an empty one."""
    close = difflib.get_close_matches(name, known, 3)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def imported(module: str, extra: str) -> Any:
    """Import a module of the package that ``extra`` of this project installs; raises `SourceError`."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise SourceError(
            f"{error.name} is not installed; it is needed only here, not for serving: "
            f'pip install "lrpserve[{extra}]"'
        ) from None
