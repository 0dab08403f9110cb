"""The interface of a source of networks, and what it is told and returns."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from app.modalities.image.spec import Resampling
from app.models.image_card import InputSize, Normalisation, Preprocessing

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram


@dataclass(frozen=True)
class SourceOptions:
    """Options of `lrpserve add`; ``None``: what the source knows of itself."""

    weights: Path | None = None
    """File of weights, safetensors or a ``state_dict``."""
    random_weights: bool = False
    """Whether the network keeps the random weights that it is built with."""
    classes: tuple[str, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    size: tuple[int, int] | None = None
    """Height and width of the network's input."""
    resize: int | tuple[int, int] | None = None
    """As `Preprocessing.resize`."""
    interpolation: Resampling | None = None


@dataclass(frozen=True, eq=False)
class SourceModel:
    """A network in evaluation mode, with what a card says about it."""

    network: "nn.Module | ExportedProgram"
    """Returns logits (B, C) for pictures (B, channels, height, width)."""
    architecture: str
    input_size: InputSize
    classes: tuple[str, ...] | None
    """``None``: they have no names."""
    normalisation: Normalisation | None
    """``None``: unknown."""
    preprocessing: Preprocessing | None


class Source(Protocol):
    """A kind of source, such as torchvision."""

    def load(self, argument: str, options: SourceOptions) -> SourceModel:
        """Return the network that ``argument``, the part of the source's name after the colon, names.

        The options that concern no weights, and are not needed to build the network, are applied later, by
        `app.models.sources.options.applied`. Raises `SourceError`.
        """
