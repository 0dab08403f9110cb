"""Max pooling and average pooling in one and two dimensions, and upsampling: forward and relevance.

Layers of one dimension run as layers of two, with a height of 1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from app.lrp.engine.operation import AtZero, Compile, OperationContext, Redistribution, Sign, Values
from app.lrp.engine.ops.affine import channels_last
from app.lrp.engine.ops.division import absorbed, divided
from app.lrp.terms import STABILIZER


@dataclass(frozen=True, eq=False)
class MaxPooling:
    """Max pooling. All relevance of an output goes to the largest input of its window."""

    pool: Callable[[Tensor], tuple[Tensor, Tensor]]
    """(B, C, H, W) -> (B, C, h, w), and the index of each window's largest input"""
    transpose: Callable[[Tensor, Tensor, Tensor], Tensor]
    """(n, C, h, w), a tensor shaped like the input, and the indices -> (n, C, H, W)"""
    window: tuple[int, int] | None = None
    """Height and width of the windows, if none of them overlap."""
    sign = Sign.AS_INPUTS
    at_zero = AtZero.AS_OUTPUT
    conserves = True
    reads_inputs = False
    reads_output = False
    receivers = (0,)
    is_cheap = False

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """See `app.lrp.engine.operation.Operation`; also returns the index of each window's largest input."""
        (x,) = inputs
        pooled, indices = self.pool(_in_two_dimensions(x))
        return _as_before(pooled, x), _as_before(indices, x)

    def relevance(self, R: Tensor, values: Values) -> Redistribution:
        """See `app.lrp.engine.operation.Backward`: the transpose of the selection.

        (n, C, h, w) -> (n, C, H, W)
        """
        indices, shape = values.extra, values.input_shape(0)
        if indices.shape != R.shape and self._tiles(R.shape, shape):
            chosen = self._transposed(torch.ones_like(indices, dtype=R.dtype), indices, (1, *shape[1:]))
            return Redistribution((_repeated(R, shape).mul_(chosen),))
        return Redistribution((self._transposed(R, indices.expand_as(R), shape),))

    def _tiles(self, pooled: torch.Size, shape: torch.Size) -> bool:
        """Return whether each input is in one window, so that inputs are (C, window · h, window · w)."""
        return self.window is not None and all(
            side == size * window
            for side, size, window in zip(shape[2:], pooled[2:], self.window[4 - len(shape) :], strict=True)
        )

    def _transposed(self, R: Tensor, indices: Tensor, shape: Sequence[int]) -> Tensor:
        """(n, C, h, w), and indices of that shape -> (n, C, H, W)"""
        # Relevance in another memory format than the blank tensor's would be copied at the size of the input.
        tensors = channels_last(R), _blank(R, shape), channels_last(indices)
        return _as_before(self.transpose(*map(_in_two_dimensions, tensors)), R)


@dataclass(frozen=True, eq=False)
class AveragePooling:
    """Average pooling, or upsampling, whose outputs are weighted means of inputs as well.

    Relevance is shared in proportion to the input, rule `app.lrp.rules.NORM`.
    """

    pool: Callable[[Tensor], Tensor]
    """(B, C, H, W) -> (B, C, h, w)"""
    transpose: Callable[[Tensor, Tensor], Tensor]
    """(n, C, h, w), and a tensor shaped like the input -> (n, C, H, W)"""
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
        return _as_before(self.pool(_in_two_dimensions(x)), x), None

    def relevance(self, R: Tensor, values: Values) -> Redistribution:
        """See `app.lrp.engine.operation.Backward`: x · poolᵀ(R / s(z)), (n, C, h, w) -> (n, C, H, W)."""
        q = divided(R, values.z, STABILIZER)
        blank = _blank(R, values.input_shape(0))
        shared = self.transpose(*map(_in_two_dimensions, (channels_last(q), blank)))
        relevance = _as_before(shared, R).mul_(values.inputs[0])
        return Redistribution((relevance,), absorbed(R, q, STABILIZER))


def _max_pooling(context: OperationContext) -> MaxPooling:
    given = context.node.attributes
    windows = zip(("kernel_size", "stride", "padding", "dilation"), (1, 1, 0, 1), strict=True)
    options: list[Any] = [_two_sizes(given[name], neutral) for name, neutral in windows]
    options.append(given["ceil_mode"])
    size, stride, padding, dilation = map(tuple, options[:4])
    return MaxPooling(
        lambda x: torch.ops.aten.max_pool2d_with_indices(x, *options),
        lambda R, x, indices: torch.ops.aten.max_pool2d_with_indices_backward(R, x, *options, indices),
        size if size == stride and padding == (0, 0) and dilation == (1, 1) else None,
    )


def _adaptive_max_pooling(context: OperationContext) -> MaxPooling:
    size = context.node.attributes["output_size"]
    return MaxPooling(
        lambda x: torch.ops.aten.adaptive_max_pool2d(x, size),
        lambda R, x, indices: torch.ops.aten.adaptive_max_pool2d_backward(R, x, indices),
    )


def _average_pooling(context: OperationContext) -> AveragePooling:
    given = context.node.attributes
    windows = zip(("kernel_size", "stride", "padding"), (1, 1, 0), strict=True)
    options: list[Any] = [_two_sizes(given[name], neutral) for name, neutral in windows]
    options += [given["ceil_mode"], given["count_include_pad"], given.get("divisor_override")]
    return AveragePooling(
        lambda x: torch.ops.aten.avg_pool2d(x, *options),
        lambda q, x: torch.ops.aten.avg_pool2d_backward(q, x, *options),
    )


def _adaptive_average_pooling(context: OperationContext) -> AveragePooling:
    height, width = _two_sizes(context.node.attributes["output_size"], 1)
    return AveragePooling(
        lambda x: F.adaptive_avg_pool2d(x, (height, width)), torch.ops.aten._adaptive_avg_pool2d_backward
    )


def _upsampling(context: OperationContext) -> AveragePooling:
    given = context.node.attributes
    mode, factors = given["mode"], given["scale_factor"] or (None, None)
    options = (given["align_corners"], *factors) if mode == "bilinear" else factors
    transpose = _UPSAMPLING[mode]
    return AveragePooling(
        lambda x: F.interpolate(x, given["size"], given["scale_factor"], mode, given["align_corners"]),
        lambda q, x: transpose(q, q.shape[2:], x.shape, *options),
    )


def _two_sizes(option: list[int], neutral: int) -> list[int]:
    """Return an option for two dimensions; in the other one, an operation of one dimension is ``neutral``."""
    return [neutral, *option] if len(option) == 1 else list(option)


def _repeated(R: Tensor, shape: torch.Size) -> Tensor:
    """Return each output repeated for all inputs of its window: (n, C, h, w) -> (n, C, H, W)."""
    sides = [1, *shape[2:]][-2:]
    repeated: Tensor = torch.ops.aten.upsample_nearest2d(_in_two_dimensions(channels_last(R)), sides)
    return _as_before(repeated, R)


def _blank(R: Tensor, shape: Sequence[int]) -> Tensor:
    """Return an uninitialised tensor (n, …) for operators that read only its shape and layout."""
    layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
    return torch.empty(shape, dtype=R.dtype, device=R.device, memory_format=layout)


def _in_two_dimensions(x: Tensor) -> Tensor:
    return x.unsqueeze(2) if x.dim() == 3 else x  # (B, C, L) -> (B, C, 1, L)


def _as_before(x: Tensor, like: Tensor) -> Tensor:
    return x.squeeze(2) if like.dim() == 3 else x  # (B, C, 1, L) -> (B, C, L)


_UPSAMPLING: Mapping[str, Callable[..., Tensor]] = {
    "nearest": torch.ops.aten.upsample_nearest2d_backward,
    "nearest-exact": torch.ops.aten._upsample_nearest_exact2d_backward,
    "bilinear": torch.ops.aten.upsample_bilinear2d_backward,
}
"""Transposes by mode."""
OPERATIONS: Mapping[str, Compile] = {
    "max_pool1d": _max_pooling,
    "max_pool2d": _max_pooling,
    "adaptive_max_pool2d": _adaptive_max_pooling,
    "avg_pool1d": _average_pooling,
    "avg_pool2d": _average_pooling,
    "adaptive_avg_pool1d": _adaptive_average_pooling,
    "adaptive_avg_pool2d": _adaptive_average_pooling,
    "upsample": _upsampling,
}
