"""Rows of tokens of different lengths in one batch: padding, and maps without it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from app.lrp.graph.graph import INPUT, TOKENS, Graph, Shape
from app.lrp.graph.symbols import row_shape
from app.lrp.graph.traced import TracedModel
from app.modalities.text.spec import PADDING

FINE_STEP, COARSE_STEP, COARSE_FROM = 8, 16, 64
"""Rows are padded to multiples of 8 tokens, and beyond 64 of 16, so that few lengths are compiled."""


class Lengths:
    """The lengths of rows of tokens, for a network with this graph."""

    def __init__(self, graph: Graph, max_tokens: int) -> None:
        """Rows have at most ``max_tokens``."""
        self._max_tokens = max_tokens
        relevant, shapes = graph.relevant, {INPUT: graph.input_shape, **{n.name: n.shape for n in graph}}
        read = {n.name: next((name for name in n.inputs if name in relevant), INPUT) for n in graph}
        self._shapes: dict[str | None, Shape] = {None: row_shape(graph.input_shape)}
        self._shapes |= {layer: row_shape(shapes[name]) for layer, name in read.items()}

    def batch(self, rows: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """Return rows, (T,) each, as one array (B, T), padded on the right."""
        padded = np.full((len(rows), self._padded(max(map(len, rows)))), PADDING, np.int64)
        for row, tokens in zip(padded, rows, strict=True):
            row[: len(tokens)] = tokens
        return padded

    def cut(self, relevance: Tensor, layer: str | None, length: int) -> Tensor:
        """Return relevance at the input of a layer, (n, …), without padding, for a row of that length."""
        for axis, size in enumerate(self._shapes[layer], start=1):
            if size == TOKENS:
                relevance = relevance.narrow(axis, 0, length)
        return relevance.contiguous()

    def has_tokens(self, layer: str) -> bool:
        """Return whether the first axis of a row of a layer's input, (n, …), is that of the tokens."""
        return self._shapes[layer][:1] == (TOKENS,)

    def _padded(self, length: int) -> int:
        step = FINE_STEP if length <= COARSE_FROM else COARSE_STEP
        return min(self._max_tokens, -(-length // step) * step)


def vocabulary_size(model: TracedModel) -> int:
    """Return how many numbers of tokens the network knows, from 0; 1 if it has no embedding of them."""
    relevant = model.graph.relevant
    embeddings = (node for node in model.graph if node.op == "embedding" and node.inputs[0] in relevant)
    return min((len(model.weights[node.weights["weight"]]) for node in embeddings), default=1)
