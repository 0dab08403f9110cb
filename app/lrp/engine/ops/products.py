"""Elementwise products and quotients: relevance passes to signals, not to constants, gates and denominators."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from app.lrp.engine.operation import AtZero, Compile, OperationContext, Redistribution, Sign, Values


@dataclass(frozen=True, eq=False)
class Product:
    """The product or the quotient of two inputs that are broadcast. Signals get equal shares of the relevance.

    A constant is no signal, and neither is a gate beside a signal (Arras et al. 2017), nor a denominator.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    receivers: frozenset[int]
    """Indices of the inputs that get relevance."""
    conserves: bool
    sign = Sign.AS_INPUTS
    at_zero = AtZero.AS_OUTPUT
    reads_inputs = False
    reads_output = False
    is_cheap = True

    def forward(self, *inputs: Tensor) -> tuple[Tensor, None]:
        """See `app.lrp.engine.operation.Operation`."""
        first, second = inputs
        return self.function(first, second), None

    def relevance(self, R: Tensor, values: Values) -> Redistribution:
        """See `app.lrp.engine.operation.Backward`."""
        if not self.receivers:
            return Redistribution((None, None), R)
        share = R if len(self.receivers) == 1 else R / len(self.receivers)
        first, second = (
            share.sum_to_size(values.input_shape(index)) if index in self.receivers else None
            for index in (0, 1)
        )
        return Redistribution((first, second))


def _product(context: OperationContext) -> Product:
    needed = frozenset(index for index, is_needed in enumerate(context.needed) if is_needed)
    return Product(torch.mul, needed - {context.node.attributes.get("gate")} or needed, conserves=True)


def _quotient(context: OperationContext) -> Product:
    numerator = frozenset({0} if context.needed[0] else ())
    return Product(torch.div, numerator, conserves=context.needed[0])


OPERATIONS: Mapping[str, Compile] = {"mul": _product, "div": _quotient}
