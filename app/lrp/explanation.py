"""The result of one explanation, in NumPy and plain numbers: it travels between processes."""

import math
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from app.lrp.samples import SampleStatistics

NEGLIGIBLE = 1e-9
"""Share of the output relevance below which a sum of relevance is rounding error."""
BALANCED = 0.01
"""|Σ start| / Σ|start| of the output relevance up to which there is no leak, which is a share of Σ start."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Relevance of one input for one `ExplanationRequest`.

    With samples, ``relevance`` is a statistic of their maps, and the sums are means over them.
    """

    output_relevance: list[float]
    """Relevance put in at the output, one number for each class."""
    relevance: npt.NDArray[Any]
    """Floating-point relevance, shaped like the input of the requested layer: (C, H, W) or (units,)."""
    smallest: float
    """Smallest value of ``relevance``; NaN if one of its values is NaN."""
    largest: float
    """Largest value of ``relevance``; NaN if one of its values is NaN."""
    layer_sums: tuple[tuple[str, float], ...]
    """Name and total relevance at the inputs of each layer, from the first layer to the last."""
    input_sum: float
    """Total relevance at the network's input."""
    bias: float
    """Relevance that biases, constants and stabilizers absorb in all layers.

    The engine sums what each node's rule leaves with them. Together with `input_sum` it is the output relevance,
    up to rounding. The reference knows only what does not reach the input.
    """
    samples: SampleStatistics | None = None
    """``None`` without samples."""

    @property
    def is_finite(self) -> bool:
        """Whether the map, the sums of all layers and the statistics of samples are finite; sums may overflow
        where no single value does.
        """
        sums = (total for _, total in self.layer_sums)
        statistics = () if self.samples is None else self.samples.known
        return all(
            map(math.isfinite, (self.smallest, self.largest, self.input_sum, self.bias, *sums, *statistics))
        )

    @property
    def leak(self) -> float | None:
        """Share of the output relevance that did not reach the network's input.

        ``None`` where the output relevance nearly cancels out, as it may for a contrast of two classes.
        """
        start, magnitude = math.fsum(self.output_relevance), math.fsum(map(abs, self.output_relevance))
        return None if abs(start) <= BALANCED * magnitude else 1 - self.input_sum / start
