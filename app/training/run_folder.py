"""Checks of a run's folder and the model's name before training starts."""

from importlib.util import find_spec
from pathlib import Path

from app.errors import DataError
from app.models.card import valid_name

CHECKPOINT = "checkpoint.pt"
"""File name of a run's last checkpoint."""


def check_before_training(run: Path, name: str, resume: bool) -> None:
    """Raise `DataError` for a name that no model may have, without matplotlib, or if ``run`` holds a training."""
    try:
        valid_name(name)
    except ValueError as error:
        raise DataError(f"name {name!r}: {error}") from None
    if find_spec("matplotlib") is None:
        raise DataError("the plots need matplotlib: pip install matplotlib")
    if not resume and any(run.glob(f"**/{CHECKPOINT}")):
        raise DataError(f"{run} holds a training already: go on with --resume, or name another --runs folder")
