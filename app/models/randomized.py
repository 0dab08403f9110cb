"""Networks whose upper layers have random parameters, for the randomisation test of Adebayo et al. 2018."""

import copy
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from app.lrp.engine.engine import Engine
from app.lrp.graph.canonize import WEIGHTED, leaf_layers

if TYPE_CHECKING:
    from app.lrp.reference import Reference

SEED = 0


class RandomizedEngines:
    """Explain a network whose upper layers are random.

    The random parameters are the same at each depth: with one layer more, those above it stay as they were. So
    all engines share what is compiled. A reference shares nothing and is made anew.
    """

    def __init__(self, model: nn.Module, engine: "Engine | Reference", bounds: tuple[Tensor, Tensor]) -> None:
        """``engine`` explains ``model``; ``bounds`` are the smallest and the largest input."""
        self._model, self._engine, self._bounds = model, engine, bounds
        self._weighted = weighted_layers(model)

    def __call__(self, depth: int) -> "Engine | Reference":
        """Return what explains the network with ``depth`` random layers with weights, counted from the output."""
        if depth == 0:
            return self._engine
        if isinstance(self._engine, Engine):
            return self._engine.joined(self._random, self._weighted[-depth])
        return type(self._engine)(randomized(self._model, depth, SEED), *self._bounds)

    @cached_property
    def _random(self) -> Engine:
        return Engine(randomized(self._model, len(self._weighted), SEED), *self._bounds)


def weighted_layers(model: nn.Module) -> list[str]:
    """Return the names of layers with weights, in the order in which they run."""
    return [name for name, layer in leaf_layers(model) if isinstance(layer, WEIGHTED)]


def randomized(model: nn.Module, depth: int, seed: int) -> nn.Module:
    """Return a copy of ``model`` with random parameters in its last ``depth`` layers with weights.

    Batch norms between them are reset as well. Parameters are initialised as torch initialises new layers. Its
    generator is seeded with ``seed`` + 1 for each layer, as Quantus does, so that a layer's parameters do not
    depend on how many are random, and is restored.
    """
    random = copy.deepcopy(model)
    first = weighted_layers(model)[-depth]
    layers = leaf_layers(random)
    with torch.random.fork_rng(devices=[]):
        for _, layer in layers[[name for name, _ in layers].index(first) :]:
            if callable(reset := getattr(layer, "reset_parameters", None)):
                torch.manual_seed(seed + 1)
                reset()
    return random
