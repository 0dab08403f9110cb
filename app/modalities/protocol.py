"""The interface of a kind of input: how its data are decoded and how its explanations are drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Options_contra = TypeVar("Options_contra", contravariant=True)
SampleT = TypeVar("SampleT", bound="Sample")
Figure_co = TypeVar("Figure_co", bound="Figure", covariant=True)


@dataclass(frozen=True, eq=False)
class Map:
    """Relevance to draw, with the text that goes with it."""

    relevance: npt.NDArray[Any]
    """Floating-point relevance, shaped like the network's or a layer's input."""
    rule: str
    prediction: str
    """Caption of the input, such as ``cat 93%``."""
    question: str
    """Caption of the relevance, such as ``why cat rather than dog?``."""
    metadata: Mapping[str, Any]
    """JSON that the figure's file contains."""
    bias: float | None = None
    """Relevance that biases and stabilizers absorbed."""
    layer: str | None = None
    """Layer whose input is attributed; ``None``: the network's input."""


class Sample(Protocol):
    """One input, decoded."""

    @property
    def input(self) -> npt.NDArray[Any]:
        """The network's input, without the batch axis."""

    @property
    def baseline(self) -> npt.NDArray[Any] | None:
        """Input that others are compared with, of the same shape; ``None``: zeros."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was noticed while the input was decoded."""


class Figure(Protocol):
    """A drawing of relevance."""

    @property
    def png(self) -> bytes:
        """The drawing as PNG."""


class Modality(Protocol[Options_contra, SampleT, Figure_co]):
    """A kind of input. Its methods run in the processes that decode and draw."""

    def decode(self, data: Any, options: Options_contra) -> SampleT:
        """Return the sample in ``data``, as it was uploaded; raises `app.errors.RequestError`."""

    def render(self, maps: Sequence[Map], sample: SampleT, options: Options_contra) -> Sequence[Figure_co]:
        """Draw each of ``maps`` of one sample, all on one scale."""

    def render_together(
        self, maps: Sequence[Map], sample: SampleT, options: Options_contra, metadata: Mapping[str, Any]
    ) -> Figure_co:
        """Draw ``maps`` of one sample as one figure: a row for each rule, a column for each question."""
