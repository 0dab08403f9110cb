"""What a network predicts for the inputs of a survey, of either form: classes, or a value."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from app.survey.arrays import Rows


class Outcome(Protocol):
    """Predictions for n inputs, and what is true: `app.survey.predictions` or `app.survey.values`."""

    @property
    def classes(self) -> Rows:
        """The output that is explained of each input, (n,): the predicted class."""

    @property
    def starts(self) -> npt.NDArray[np.float64]:
        """What a map is multiplied by to be in units of the output that it explains, (n,).

        Maps of classes have 1 put in at the output, with the sign of the logit, and relevance is proportional to
        what is put in.
        """

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Whether the truth is known, (n,)."""

    def mistakes(self) -> Rows:
        """Return inputs that are predicted wrong, the worst first."""

    def columns(self, classes: Sequence[str]) -> dict[str, pa.Array]:
        """Return the columns of ``items.parquet``."""

    def summary(self) -> dict[str, Any]:
        """Return the members of ``summary.json``."""

    def line(self) -> str:
        """Return how good the predictions are, in words."""

    def notes(self, labels: Sequence[str | None], classes: Sequence[str]) -> list[str]:
        """Return what a reader should know of ``labels``, one sentence each."""
