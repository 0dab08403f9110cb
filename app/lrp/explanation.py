"""The result of one explanation, in NumPy and plain numbers: it travels between processes."""

import math
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

NEGLIGIBLE = 1e-9
"""Share of the output relevance below which a sum of relevance is rounding error."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Relevance of one input for one `ExplanationRequest`."""

    output_relevance: list[float]
    """Relevance put in at the output, one number for each class."""
    relevance: npt.NDArray[Any]
    """Floating-point relevance, shaped like the input of the requested layer: (C, H, W) or (units,)."""
    smallest: float
    """Smallest value of ``relevance``; NaN if one of its values is NaN."""
    largest: float
    """Largest value of ``relevance``; NaN if one of its values is NaN."""
    layer_sums: tuple[tuple[str, float], ...]
    """Name and total relevance at the input of each layer, from the first layer to the last."""

    @property
    def leak(self) -> float | None:
        """Share of the output relevance that did not reach the network's input.

        ``None`` where the output relevance sums to zero, as it may for a contrast of two classes.
        """
        start, magnitude = math.fsum(self.output_relevance), math.fsum(map(abs, self.output_relevance))
        return None if abs(start) <= NEGLIGIBLE * magnitude else 1 - self.layer_sums[0][1] / start
