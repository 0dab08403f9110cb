"""The interfaces of a source of networks and of what its network takes, and what a source is told and returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from app.modalities.image.spec import Resampling
from app.models.card import Output

if TYPE_CHECKING:
    from torch import Tensor, nn
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


class SourceInput(Protocol):
    """What a network takes, as far as its source states it."""

    @property
    def card_fields(self) -> Mapping[str, Any]:
        """Fields of the card that describe it; raises `SourceError` if something is unknown."""

    @property
    def assets(self) -> Mapping[str, bytes]:
        """Files of the model by name, besides those of its graph and weights."""

    @property
    def bounds(self) -> "tuple[Tensor, ...]":
        """The smallest and the largest input, broadcastable to it; nothing for inputs without bounds."""

    def with_options(self, options: SourceOptions) -> Self:
        """Return it with ``options`` in place of what the source states; raises `SourceError`."""

    def example(self) -> "Tensor":
        """Return an input to export the network with, (1, …), the longest one."""

    def random_batches(self) -> "Sequence[Tensor]":
        """Return random inputs for which the graph is compared with the network; the last ones are explained."""

    def alone(self, batch: "Tensor") -> "Sequence[Tensor]":
        """Return the inputs of a batch in batches that need no padding."""


@dataclass(frozen=True, eq=False)
class SourceModel:
    """A network in evaluation mode, with what a card says about it."""

    network: "nn.Module | ExportedProgram"
    """Returns logits (B, C)."""
    architecture: str
    input: SourceInput
    classes: tuple[str, ...] | None
    """Names of the outputs; ``None``: they have none."""
    output: Output = "classes"
    """What the logits mean."""


class Source(Protocol):
    """A kind of source, such as torchvision."""

    def load(self, argument: str, options: SourceOptions) -> SourceModel:
        """Return the network that ``argument``, the part of the source's name after the colon, names.

        The options that concern no weights, and are not needed to build the network, are applied later, by
        `app.models.sources.registry.load`. Raises `SourceError`.
        """
