"""Networks whose upper layers have random parameters, for the randomisation test of Adebayo et al. 2018."""

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from app.lrp.composites import parametrized
from app.lrp.engine.engine import Engine
from app.lrp.graph.graph import Graph, Node
from app.lrp.graph.kinds import kinds
from app.lrp.graph.traced import TracedModel

if TYPE_CHECKING:
    from app.lrp.reference import Reference

SEED = 0


class RandomizedEngines:
    """Explain a network whose upper layers are random.

    The random parameters are the same at each depth: with one layer more, those above it stay as they were. So
    all engines share what is compiled. A reference shares nothing and is made anew.
    """

    def __init__(
        self,
        model: TracedModel,
        engine: "Engine | Reference",
        bounds: tuple[Tensor, Tensor] | None,
        products: torch.dtype | None = None,
    ) -> None:
        """``engine`` explains ``model``; ``bounds`` are the smallest and the largest input, if it has any.

        ``products``: as in `Engine`.
        """
        self._model, self._engine, self._bounds, self._products = model, engine, bounds or (), products
        self._weighted = weighted_layers(model.graph)

    def __call__(self, depth: int) -> "Engine | Reference":
        """Return what explains the network with ``depth`` random layers with weights, counted from the output."""
        if depth == 0:
            return self._engine
        if isinstance(self._engine, Engine):
            return self._engine.joined(self._random, self._weighted[-depth])
        return type(self._engine)(randomized(self._model, depth, SEED), *self._bounds)

    @cached_property
    def _random(self) -> Engine:
        model = randomized(self._model, len(self._weighted), SEED)
        return Engine(model, *self._bounds, products=self._products)


def weighted_layers(graph: Graph) -> list[str]:
    """Return the names of layers that have weights to be learnt, in the order in which they run."""
    return parametrized(kinds(graph))


def randomized(model: TracedModel, depth: int, seed: int) -> TracedModel:
    """Return ``model`` with random parameters in its last ``depth`` layers with weights.

    Normalisations and embeddings between them are reset as well. Parameters are initialised as torch initialises
    new layers. Its generator is seeded with ``seed`` + 1 for each layer, as Quantus does, so that a layer's
    parameters do not depend on how many are random, and is restored.
    """
    nodes = model.graph.nodes
    first = [node.name for node in nodes].index(weighted_layers(model.graph)[-depth])
    weights = dict(model.weights)
    with torch.random.fork_rng(devices=[]):
        for node in nodes[first:]:
            if node.op in RESETS:
                torch.manual_seed(seed + 1)
                weights |= _reset(node, model.weights)
    return TracedModel(model.graph, weights)


def _reset(node: Node, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return new values of the weights of a node, by name, on their device."""
    new = {role: torch.empty(weights[name].shape) for role, name in node.weights.items()}
    RESETS[node.op](new)
    return {name: new[role].to(weights[name]) for role, name in node.weights.items()}


def _reset_layer(new: Mapping[str, Tensor]) -> None:
    """Initialise a convolution or a linear layer as ``torch.nn.Linear.reset_parameters`` does."""
    nn.init.kaiming_uniform_(new["weight"], a=math.sqrt(5))
    if "bias" in new:
        bound = 1 / math.sqrt(new["weight"][0].numel())  # inputs of one output
        nn.init.uniform_(new["bias"], -bound, bound)


def _reset_norm(new: Mapping[str, Tensor]) -> None:
    for role, tensor in new.items():
        tensor.fill_(1.0 if role in ("weight", "scale") else 0.0)


def _reset_recurrent(new: Mapping[str, Tensor]) -> None:
    """Initialise a layer as ``torch.nn.RNNBase.reset_parameters`` does."""
    bound = 1 / math.sqrt(new["weight_hh"].shape[1])
    for tensor in new.values():
        nn.init.uniform_(tensor, -bound, bound)


def _reset_embedding(new: Mapping[str, Tensor]) -> None:
    nn.init.normal_(new["weight"])


RESETS: Mapping[str, Callable[[Mapping[str, Tensor]], None]] = MappingProxyType(
    {
        **dict.fromkeys(("conv1d", "conv2d", "linear"), _reset_layer),
        **dict.fromkeys(("batch_norm", "layer_norm", "group_norm", "rms_norm"), _reset_norm),
        "embedding": _reset_embedding,
        **dict.fromkeys(("lstm", "gru"), _reset_recurrent),
    }
)
"""Initialisation of the weights of an operation, by role and in place."""
