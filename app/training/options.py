"""The options of ``lrpserve train`` that recipes of all kinds share."""

from dataclasses import dataclass
from pathlib import Path

from app.errors import DataError


@dataclass(frozen=True)
class TrainOptions:
    """What to train on and where to write it. A recipe refuses an option that it has no use for."""

    data: Path | None
    """Data to train on; ``None``: the recipe's own, if it has some."""
    test_data: Path | None
    """Test data, if they are not part of ``data``."""
    output: Path | None
    """Folder in which the model's folder is written; ``None``: the run's."""
    runs: Path
    """Folder of the runs' folders, which have checkpoints and plots."""
    name: str | None
    """Name of the model; ``None``: that of the recipe's shipped model."""
    resume: bool
    """Whether to continue from the run's last checkpoint."""
    start: Path | None
    """Folder or card of the model to start from."""
    seed: int
    """Seed of all random numbers."""
    device: str
    """Device to train on: ``cpu``, ``cuda`` or ``cuda:N``; recipes for text train on the CPU."""
    data_name: str | None = None
    """What the data are, for the card; ``None``: the name of ``data``."""
    target: str | None = None
    """Column of a table that is predicted."""
    impute: bool = False
    """Whether means replace missing values of a table."""

    def refuse(self, recipe: str, *options: str) -> None:
        """Raise `DataError` if one of ``options``, names of fields, is given."""
        for option in options:
            if getattr(self, option):
                raise DataError(
                    f"recipe {recipe!r} has no use for --{option.replace('_', '-')}: leave it out"
                )
