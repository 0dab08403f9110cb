"""A graph with its weights: what the engine and the reference compile, and what passes transform."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from app.lrp.graph.graph import Graph

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class TracedModel:
    """A network: its graph, and all tensors that the graph reads, by name."""

    graph: Graph
    weights: "Mapping[str, Tensor]"

    def map_weights(self, function: "Callable[[Tensor], Tensor]") -> "TracedModel":
        """Return the network with ``function`` applied to each tensor, for example to move them to a device."""
        return replace(self, weights={name: function(tensor) for name, tensor in self.weights.items()})


def in_float64(tensor: "Tensor") -> "Tensor":
    """Return ``tensor`` in float64; one of integers, such as numbers of tokens, as it is."""
    return tensor.double() if tensor.is_floating_point() else tensor


Pass = Callable[[TracedModel], TracedModel]
"""A transformation that leaves what the network computes unchanged."""
