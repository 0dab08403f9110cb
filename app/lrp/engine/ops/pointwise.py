"""Activations: relevance passes them unchanged."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from app.lrp.engine.operation import AtZero, Compile, OperationContext, Sign
from app.lrp.engine.ops.passing import Passing


def _through_zero(function: Callable[[Tensor], Tensor]) -> Passing:
    """A function that is 0 at 0 and not negative for positive values."""
    return Passing(function, Sign.AS_INPUTS, AtZero.AS_OUTPUT)


def _positive(function: Callable[[Tensor], Tensor]) -> Passing:
    """A function that is never negative, and positive at 0."""
    return Passing(function, Sign.NONNEGATIVE, AtZero.ANY)


def _leaky_relu(context: OperationContext) -> Passing:
    slope = context.node.attributes["negative_slope"]
    return _through_zero(lambda x: F.leaky_relu(x, slope))


def _elu(context: OperationContext) -> Passing:
    alpha = context.node.attributes["alpha"]
    return _through_zero(lambda x: F.elu(x, alpha))


def _gelu(context: OperationContext) -> Passing:
    approximate = context.node.attributes["approximate"]
    return _through_zero(lambda x: F.gelu(x, approximate=approximate))


OPERATIONS: Mapping[str, Compile] = {
    "relu6": lambda _: Passing(F.relu6, Sign.NONNEGATIVE, AtZero.AS_OUTPUT),
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "gelu": _gelu,
    "silu": lambda _: _through_zero(F.silu),
    "mish": lambda _: _through_zero(F.mish),
    "softplus": lambda _: _positive(F.softplus),
    "sigmoid": lambda _: _positive(torch.sigmoid),
    "hardsigmoid": lambda _: _positive(F.hardsigmoid),
    "hardswish": lambda _: _through_zero(F.hardswish),
    "tanh": lambda _: _through_zero(torch.tanh),
}
