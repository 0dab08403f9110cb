"""Embedding of tokens: the relevance of a token is the sum over the dimensions of its vector."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from app.lrp.engine.operation import AtZero, Compile, Redistribution, Sign, Values


@dataclass(frozen=True, eq=False)
class Embedding:
    """Vectors of tokens, which are given by their numbers."""

    weight: Tensor
    """(words, dimensions)"""
    sign = Sign.ANY
    at_zero = AtZero.ANY
    conserves = True
    reads_inputs = False
    reads_output = False
    receivers = (0,)
    is_cheap = False

    def forward(self, *inputs: Tensor) -> tuple[Tensor, None]:
        """See `app.lrp.engine.operation.Operation`: (B, T) -> (B, T, dimensions)."""
        (tokens,) = inputs
        return F.embedding(tokens.long(), self.weight), None

    def relevance(self, R: Tensor, values: Values) -> Redistribution:  # noqa: ARG002
        """See `app.lrp.engine.operation.Backward`: (n, T, dimensions) -> (n, T)."""
        return Redistribution((R.sum(-1),))


OPERATIONS: Mapping[str, Compile] = {"embedding": lambda context: Embedding(context.weights["weight"])}
