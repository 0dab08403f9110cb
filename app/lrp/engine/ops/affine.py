"""Linear maps of layers with weights, and their transposes, for any weights of the layer's shape.

A map is compiled once and is then a pure function. On a CPU its weights are kept in oneDNN's blocked
format, which saves a copy at each call, and the threshold that follows is fused into the operator: 10 to 15 % of
an explanation. PyTorch's compiler, torch._inductor, uses the same operators. Elsewhere the plain operators run.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from app.lrp.engine.ops.packed import PackedConvolution, Threshold, packs
from app.lrp.graph.graph import Node

Map = Callable[[Tensor], Tensor]
"""(B, …) -> (B, …)"""
Transpose = Callable[[Tensor, torch.Size], Tensor]
"""(B, out, …), shape (1, in, …) -> (B, in, …)"""


class NotCompilableError(Exception):
    """The engine has no operation for a node."""


class Affine(Protocol):
    """The linear map of a layer with weights, for any weights of its shape."""

    @property
    def axis(self) -> int:
        """Axis of channels or features, of inputs and outputs."""

    def map(self, w: Tensor, b: Tensor | None, floor: float = -math.inf) -> Map:
        """Return the function max(wx + b, floor): (B, in, …) -> (B, out, …)."""

    def total(self, q: Tensor, values: Tensor) -> Tensor:
        """Return the sum over outputs of q, (B, out, …), times ``values``, (out,): (B, 1, …)."""

    def is_even(self, w: Tensor) -> bool:
        """Return whether all weights are one number in memory; the transpose then needs sums of outputs only."""

    def transpose(self, w: Tensor) -> Transpose:
        """Return the function wᵀq: (B, out, …) and the shape of the layer's input -> (B, in, …) of that shape.

        If ``w`` is even its argument is the sum over outputs, (B, 1, …).
        """


@dataclass(frozen=True)
class Dense:
    """Dense layer, (…, in) -> (…, out)."""

    axis = -1

    def map(self, w: Tensor, b: Tensor | None, floor: float = -math.inf) -> Map:
        """See `Affine`."""
        if packs(w):
            packed, threshold = torch.ops.mkldnn._reorder_linear_weight(w.contiguous()), _threshold(floor)
            return lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, b, *threshold)
        return _with_floor(lambda x: F.linear(x, w, b), floor)

    def total(self, q: Tensor, values: Tensor) -> Tensor:
        """See `Affine`."""
        return (q @ values).unsqueeze(-1)

    def is_even(self, w: Tensor) -> bool:
        """See `Affine`."""
        return not any(w.stride())

    def transpose(self, w: Tensor) -> Transpose:
        """See `Affine`."""
        if self.is_even(w):
            return lambda q, _: (q * w[0, 0]).expand(*q.shape[:-1], w.shape[1])
        transposed = self.map(w.t(), None)
        return lambda q, _: transposed(q)


@dataclass(frozen=True)
class Convolution:
    """Convolution in one or two dimensions, (B, in, *spatial) -> (B, out, *spatial)."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    axis = 1

    def map(self, w: Tensor, b: Tensor | None, floor: float = -math.inf) -> Map:
        """See `Affine`."""
        return self._convolution(w, b, self.stride, self.padding, floor)

    def total(self, q: Tensor, values: Tensor) -> Tensor:
        """See `Affine`."""
        return (q.movedim(1, -1) @ values).unsqueeze(1)

    def is_even(self, w: Tensor) -> bool:
        """See `Affine`."""
        return self.groups == 1 and not any(w.stride())

    def transpose(self, w: Tensor) -> Transpose:
        """See `Affine`."""
        if not self.is_even(w):
            return self._transposed(w)
        box = self._transposed(w[:1, :1])
        return lambda q, shape: box(q, shape).expand(-1, *shape[1:])

    def _transposed(self, w: Tensor) -> Transpose:
        """Return the transpose; as a convolution with flipped weights if possible, which is faster on a CPU."""
        padding = [d * (k - 1) - p for d, k, p in zip(self.dilation, self.kernel, self.padding, strict=True)]
        if set(self.stride) == {1} and min(padding) >= 0:
            flipped = self._swapped(w).flip(tuple(range(2, w.dim())))
            convolved = self._convolution(flipped, None, self.stride, padding, -math.inf)
            return lambda q, _: convolved(q)
        return lambda q, shape: torch.convolution(
            q,
            w,
            None,
            self.stride,
            self.padding,
            self.dilation,
            True,
            self._rest(q.shape, shape),
            self.groups,
        )

    def _swapped(self, w: Tensor) -> Tensor:
        """Exchange inputs and outputs of each group: (out, in / groups, …) -> (in, out / groups, …)."""
        grouped: Tensor = w.unflatten(0, (self.groups, -1))  # (groups, out / groups, in / groups, …)
        return grouped.transpose(1, 2).flatten(0, 1)

    def _convolution(
        self, w: Tensor, b: Tensor | None, stride: Sequence[int], padding: Sequence[int], floor: float
    ) -> Map:
        if packs(w) and w.dim() == 4 and self.groups == 1:
            return PackedConvolution(
                w, b, _threshold(floor), padding=padding, stride=stride, dilation=self.dilation
            )
        laid_out, none = channels_last(w), [0] * len(self.kernel)
        return _with_floor(
            lambda x: torch.convolution(
                x, laid_out, b, stride, padding, self.dilation, False, none, self.groups
            ),
            floor,
        )

    def _rest(self, given: torch.Size, wanted: torch.Size) -> list[int]:
        """Return the rows and columns of the input beyond the last window, PyTorch's ``output_padding``."""
        return [
            side - ((size - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1)
            for side, size, stride, padding, dilation, kernel in zip(
                wanted[2:], given[2:], self.stride, self.padding, self.dilation, self.kernel, strict=True
            )
        ]


@dataclass(frozen=True)
class Rounded:
    """The linear map of a layer, its products computed in a smaller precision.

    Inputs and weights are rounded to it. Products are summed in float32 inside of an operator, whose result is
    rounded; biases, and with them stabilizers, are added to it in the precision of the input.
    """

    exact: Affine
    dtype: torch.dtype

    @property
    def axis(self) -> int:
        """See `Affine`."""
        return self.exact.axis

    def map(self, w: Tensor, b: Tensor | None, floor: float = -math.inf) -> Map:
        """See `Affine`."""
        products = self.exact.map(w.to(self.dtype), None)
        if b is None:
            return _with_floor(lambda x: products(x.to(self.dtype)).to(x.dtype), floor)
        offset = b if self.axis == -1 else b.view(-1, *[1] * (w.dim() - 2))  # (out,) -> (out, 1, …)
        return _with_floor(lambda x: products(x.to(self.dtype)) + offset, floor)

    def total(self, q: Tensor, values: Tensor) -> Tensor:
        """See `Affine`."""
        return self.exact.total(q, values)

    def is_even(self, w: Tensor) -> bool:
        """See `Affine`."""
        return self.exact.is_even(w)

    def transpose(self, w: Tensor) -> Transpose:
        """See `Affine`."""
        if self.is_even(w):  # its rounded copy would not be, and there is one product for each input
            return self.exact.transpose(w)
        products = self.exact.transpose(w.to(self.dtype))
        return lambda q, shape: products(q.to(self.dtype), shape).to(q.dtype)


def affine(node: Node, w: Tensor) -> Affine:
    """Return the linear map of a node whose weights have the shape of ``w``."""
    if node.op == "linear":
        return Dense()
    stride, padding, dilation = (tuple(node.attributes[name]) for name in ("stride", "padding", "dilation"))
    return Convolution(tuple(w.shape[2:]), stride, padding, dilation, node.attributes["groups"])


def channels_last(x: Tensor) -> Tensor:
    """Return ``x`` in the memory format that convolutions in two dimensions are fastest with."""
    return x.contiguous(memory_format=torch.channels_last if x.dim() == 4 else torch.contiguous_format)


def _with_floor(function: Map, floor: float) -> Map:
    return function if floor == -math.inf else lambda x: function(x).clamp_min_(floor)


def _threshold(floor: float) -> Threshold:
    """Return oneDNN's name, numbers and algorithm of the fused operation max(·, floor)."""
    if floor == -math.inf:
        return "none", [], ""
    return ("relu", [], "") if floor == 0 else ("hardtanh", [floor, math.inf], "")
