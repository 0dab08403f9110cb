"""Means, sums, norms and maxima over axes.

Relevance is in proportion to the contributions, as in average pooling; that of a maximum is all of the largest.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from app.lrp.engine.operation import AtZero, Compile, OperationContext, Redistribution, Sign, Values
from app.lrp.engine.ops.division import absorbed, divided
from app.lrp.terms import STABILIZER


@dataclass(frozen=True, eq=False)
class SumOverAxes:
    """The sum z of x over axes. Relevance is x · R / s(z)."""

    axes: tuple[int, ...]
    keepdim: bool
    sign = Sign.AS_INPUTS
    at_zero = AtZero.NONE
    conserves = False  # the stabilizer absorbs some relevance
    reads_inputs = True
    reads_output = True
    receivers = (0,)
    is_cheap = False

    def forward(self, *inputs: Tensor) -> tuple[Tensor, None]:
        """See `app.lrp.engine.operation.Operation`."""
        (x,) = inputs
        return x.sum(self.axes, self.keepdim), None

    def relevance(self, R: Tensor, values: Values) -> Redistribution:
        """See `app.lrp.engine.operation.Backward`."""
        q = divided(R, values.z, STABILIZER)
        kept = absorbed(R, q, STABILIZER)
        return Redistribution((self._shared(self._with_axes(q, values), values),), kept)

    def _shared(self, q: Tensor, values: Values) -> Tensor:
        """Return the contributions to z times q = R / s(z), which has the axes that are summed over."""
        return values.inputs[0] * q

    def _with_axes(self, q: Tensor, values: Values) -> Tensor:
        """Return a value of the output's shape with the axes that are summed over."""
        if not self.keepdim:
            dims = len(values.input_shape(0))
            for axis in sorted(axis % dims for axis in self.axes):
                q = q.unsqueeze(axis)
        return q


@dataclass(frozen=True, eq=False)
class MeanOverAxes(SumOverAxes):
    """The mean z of n values of x over axes. Relevance is x / n · R / s(z)."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, None]:
        """See `app.lrp.engine.operation.Operation`."""
        (x,) = inputs
        return x.mean(self.axes, self.keepdim), None

    def _shared(self, q: Tensor, values: Values) -> Tensor:
        shape = values.input_shape(0)
        return values.inputs[0] * q.div_(math.prod(shape[axis] for axis in self.axes))


@dataclass(frozen=True, eq=False)
class NormOverAxes(SumOverAxes):
    """The norm z = (Σ|x|ᵖ)^(1/p). Relevance is x · ∂z/∂x · R / s(z) = |x|ᵖ z^(1 − p) · R / s(z)."""

    order: float
    sign = Sign.NONNEGATIVE

    def forward(self, *inputs: Tensor) -> tuple[Tensor, None]:
        """See `app.lrp.engine.operation.Operation`."""
        (x,) = inputs
        norm: Tensor = torch.linalg.vector_norm(x, self.order, self.axes, self.keepdim)
        return norm, None

    def _shared(self, q: Tensor, values: Values) -> Tensor:
        z = self._with_axes(values.z, values)
        # Where the norm is 0 so are all values.
        ratios = torch.where(z == 0, 0, values.inputs[0].abs() / z)
        return ratios.pow_(self.order) * z * q


@dataclass(frozen=True, eq=False)
class Largest:
    """The largest value of x along an axis, which gets all relevance. `forward` also returns its index."""

    axis: int
    keepdim: bool
    sign = Sign.AS_INPUTS
    at_zero = AtZero.AS_OUTPUT
    conserves = True
    reads_inputs = False
    reads_output = False
    receivers = (0,)
    is_cheap = False

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """See `app.lrp.engine.operation.Operation`."""
        (x,) = inputs
        largest, index = x.max(self.axis, self.keepdim)
        return largest, index

    def relevance(self, R: Tensor, values: Values) -> Redistribution:
        """See `app.lrp.engine.operation.Backward`."""
        index = values.extra.expand_as(R)
        if not self.keepdim:
            R, index = R.unsqueeze(self.axis), index.unsqueeze(self.axis)
        return Redistribution((R.new_zeros(values.input_shape(0)).scatter_(self.axis, index, R),))


def _largest(context: OperationContext) -> Largest:
    return Largest(context.node.attributes["axis"], context.node.attributes["keepdim"])


def _norm(context: OperationContext) -> NormOverAxes:
    attributes = context.node.attributes
    return NormOverAxes(tuple(attributes["axes"]), attributes["keepdim"], attributes["ord"])


def _sum(context: OperationContext) -> SumOverAxes:
    return SumOverAxes(tuple(context.node.attributes["axes"]), context.node.attributes["keepdim"])


def _mean(context: OperationContext) -> MeanOverAxes:
    return MeanOverAxes(tuple(context.node.attributes["axes"]), context.node.attributes["keepdim"])


OPERATIONS: Mapping[str, Compile] = {"sum": _sum, "mean": _mean, "amax": _largest, "vector_norm": _norm}
