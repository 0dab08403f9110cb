"""Activations and other functions of single values: relevance passes them unchanged."""

import math
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


def _parametric_relu(context: OperationContext) -> Passing:
    weight = context.weights["weight"]
    return _through_zero(lambda x: F.prelu(x, weight))


def _elu(context: OperationContext) -> Passing:
    alpha = context.node.attributes["alpha"]
    return _through_zero(lambda x: F.elu(x, alpha))


def _gelu(context: OperationContext) -> Passing:
    approximate = context.node.attributes["approximate"]
    return _through_zero(lambda x: F.gelu(x, approximate=approximate))


def _clamp(context: OperationContext) -> Passing:
    low, high = context.node.attributes["min"], context.node.attributes["max"]
    least, most = -math.inf if low is None else low, math.inf if high is None else high
    sign = Sign.NONNEGATIVE if least >= 0 else Sign.AS_INPUTS if most >= 0 else Sign.ANY
    return Passing(lambda x: x.clamp(low, high), sign, AtZero.AS_OUTPUT if least <= 0 <= most else AtZero.ANY)


def _pow(context: OperationContext) -> Passing:
    exponent = context.node.attributes["exponent"]
    sign = Sign.NONNEGATIVE if exponent % 2 == 0 else Sign.AS_INPUTS
    return Passing(lambda x: x.pow(exponent), sign, AtZero.AS_OUTPUT if exponent > 0 else AtZero.ANY)


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
    "exp": lambda _: _positive(torch.exp),
    "prelu": _parametric_relu,
    "abs": lambda _: Passing(torch.abs, Sign.NONNEGATIVE, AtZero.AS_OUTPUT),
    "clamp": _clamp,
    "pow": _pow,
}
