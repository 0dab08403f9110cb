"""The linear maps of weighted layers, and their transposes, for any weights of a layer's shape.

A map is made once, with its weights laid out as the machine likes them, and is then a pure function. On CPU in
float32 oneDNN keeps weights in blocks of its own; handed them that way, it need not copy them at each call, and
takes the threshold that follows along (10 to 15 % of an explanation). PyTorch's own compiler does the same with
the same operators. Everywhere else the plain operators run.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Map = Callable[[Tensor], Tensor]
"""Of a batch, (B, …) -> (B, …)."""


class NotCompilableError(Exception):
    """The engine has no step for this layer; the reference explains such networks."""


class Affine(Protocol):
    """The linear map of a weighted layer, for any weights of its shape."""

    def map(self, w: Tensor, b: Tensor | None, floor: float = -math.inf) -> Map:
        """``max(wx + b, floor)``: (B, in, …) -> (B, out, …)."""

    def is_even(self, w: Tensor) -> bool:
        """Whether ``w`` is one number seen everywhere, so that its transpose need not tell outputs apart."""

    def transpose(self, w: Tensor, shape: torch.Size) -> Map:
        """``wᵀq``: (B, out, …), or their sum (B, 1, …) where ``w`` is even, -> (B, in, …) of ``shape``."""


@dataclass(frozen=True)
class Dense:
    """(B, in) -> (B, out)."""

    def map(self, w: Tensor, b: Tensor | None, floor: float = -math.inf) -> Map:
        """See `Affine`."""
        if _packs(w):
            packed, threshold = torch.ops.mkldnn._reorder_linear_weight(w.contiguous()), _threshold(floor)
            return lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, b, *threshold)
        return _with_floor(lambda x: F.linear(x, w, b), floor)

    def is_even(self, w: Tensor) -> bool:
        """See `Affine`."""
        return not any(w.stride())

    def transpose(self, w: Tensor, shape: torch.Size) -> Map:  # noqa: ARG002
        """See `Affine`."""
        if self.is_even(w):
            return lambda q: (q * w[0, 0]).expand(-1, w.shape[1])
        return self.map(w.t(), None)


@dataclass(frozen=True)
class Convolution:
    """(B, in, *spatial) -> (B, out, *spatial), in one or two dimensions."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def map(self, w: Tensor, b: Tensor | None, floor: float = -math.inf) -> Map:
        """See `Affine`."""
        return self._convolution(w, b, self.stride, self.padding, floor)

    def is_even(self, w: Tensor) -> bool:
        """See `Affine`."""
        return self.groups == 1 and not any(w.stride())

    def transpose(self, w: Tensor, shape: torch.Size) -> Map:
        """See `Affine`."""
        if not self.is_even(w):
            return self._transposed(w, shape)
        box = self._transposed(w[:1, :1], shape)
        return lambda q: box(q).expand(-1, *shape[1:])

    def _transposed(self, w: Tensor, shape: torch.Size) -> Map:
        """A plain convolution with flipped weights where that will do, the faster on CPU."""
        spatial = tuple(range(2, w.dim()))
        padding = [d * (k - 1) - p for d, k, p in zip(self.dilation, self.kernel, self.padding, strict=True)]
        if self.groups == 1 and set(self.stride) == {1} and min(padding) >= 0:
            return self._convolution(w.flip(spatial).transpose(0, 1), None, self.stride, padding, -math.inf)
        return lambda q: torch.convolution(
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

    def _convolution(
        self, w: Tensor, b: Tensor | None, stride: Sequence[int], padding: Sequence[int], floor: float
    ) -> Map:
        if _packs(w) and w.dim() == 4 and self.groups == 1:
            options = (padding, stride, self.dilation, self.groups)
            packed = torch.ops.mkldnn._reorder_convolution_weight(channels_last(w), *options)
            threshold = _threshold(floor)
            return lambda x: torch.ops.mkldnn._convolution_pointwise(x, packed, b, *options, *threshold)
        laid_out, none = channels_last(w), [0] * len(self.kernel)
        return _with_floor(
            lambda x: torch.convolution(
                x, laid_out, b, stride, padding, self.dilation, False, none, self.groups
            ),
            floor,
        )

    def _rest(self, given: torch.Size, wanted: torch.Size) -> list[int]:
        """Rows and columns of the input behind the last full stride, which the output does not tell."""
        return [
            side - ((size - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1)
            for side, size, stride, padding, dilation, kernel in zip(
                wanted[2:], given[2:], self.stride, self.padding, self.dilation, self.kernel, strict=True
            )
        ]


def affine(layer: nn.Module) -> Affine:
    """The linear map of ``layer``; raises `NotCompilableError` for paddings that have none here."""
    if isinstance(layer, nn.Linear):
        return Dense()
    assert isinstance(layer, nn.Conv1d | nn.Conv2d)
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise NotCompilableError(f"padding {layer.padding_mode}, {layer.padding}")
    return Convolution(layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups)


def channels_last(x: Tensor) -> Tensor:
    """``x`` as convolutions in two dimensions like it in memory."""
    return x.contiguous(memory_format=torch.channels_last if x.dim() == 4 else torch.contiguous_format)


def _with_floor(function: Map, floor: float) -> Map:
    return function if floor == -math.inf else lambda x: function(x).clamp_min_(floor)


def _threshold(floor: float) -> tuple[str, list[float], str]:
    """The name, numbers and algorithm by which oneDNN knows ``max(·, floor)``."""
    if floor == -math.inf:
        return "none", [], ""
    return ("relu", [], "") if floor == 0 else ("hardtanh", [floor, math.inf], "")


def _packs(w: Tensor) -> bool:
    return (
        w.device.type == "cpu"
        and w.dtype is torch.float32
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    )
