"""Max pooling and average pooling, in one and two dimensions: forward and relevance.

Layers of one dimension run as layers of two, with a height of 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from app.lrp.engine.activations import Activations
from app.lrp.engine.ops.affine import channels_last
from app.lrp.engine.ops.division import stabilized
from app.lrp.terms import STABILIZER

_MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d)
_AVERAGE_POOLS = (nn.AvgPool1d, nn.AvgPool2d)
_ADAPTIVE_AVERAGE_POOLS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)
POOLS = (*_MAX_POOLS, *_AVERAGE_POOLS, *_ADAPTIVE_AVERAGE_POOLS)


@dataclass(frozen=True, eq=False)
class MaxPooling:
    """Max pooling. All relevance of an output goes to the largest input of its window."""

    shape: torch.Size
    """Shape of the layer's input, (1, …)."""
    options: tuple[Any, ...]
    """Kernel, stride, padding, dilation, ceil_mode."""
    conserves = True

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See `app.lrp.engine.steps.Forward`; also returns the index of each window's largest input."""
        pooled, indices = torch.ops.aten.max_pool2d_with_indices(_in_two_dimensions(x), *self.options)
        return _as_before(pooled, x), _as_before(indices, x)

    def relevance(self, R: Tensor, activations: Activations) -> Tensor:
        """See `app.lrp.engine.steps.Backward`: the transpose of the selection, (n, C, h, w) -> (n, C, H, W)."""
        indices = channels_last(activations.extra.expand_as(R))
        like_input = _blank(R, self.shape)
        relevance = torch.ops.aten.max_pool2d_with_indices_backward(
            *map(_in_two_dimensions, (R, like_input)), *self.options, _in_two_dimensions(indices)
        )
        return _as_before(relevance, R)


@dataclass(frozen=True, eq=False)
class AveragePooling:
    """Average pooling. Relevance is shared in proportion to the input, rule `app.lrp.rules.NORM`."""

    shape: torch.Size
    """Shape of the layer's input, (1, …)."""
    pool: Callable[[Tensor], Tensor]
    """(B, C, H, W) -> (B, C, h, w)"""
    transpose: Callable[[Tensor, Tensor], Tensor]
    """(n, C, h, w), and a tensor shaped like the input -> (n, C, H, W)"""
    conserves = False  # the stabilizer absorbs some relevance

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """See `app.lrp.engine.steps.Forward`."""
        return _as_before(self.pool(_in_two_dimensions(x)), x), None

    def relevance(self, R: Tensor, activations: Activations) -> Tensor:
        """See `app.lrp.engine.steps.Backward`: x · poolᵀ(R / s(z)), (n, C, h, w) -> (n, C, H, W)."""
        q = R / stabilized(activations.z, STABILIZER)
        shared = self.transpose(*map(_in_two_dimensions, (channels_last(q), _blank(R, self.shape))))
        return _as_before(shared, R).mul_(activations.x)


def pooling(layer: nn.Module, shape: torch.Size) -> MaxPooling | AveragePooling:
    """Compile one of the layers `POOLS` for inputs of ``shape`` (1, …)."""
    if isinstance(layer, _MAX_POOLS):
        return _max_pooling(layer, shape)
    if isinstance(layer, _AVERAGE_POOLS):
        return _average_pooling(layer, shape)
    assert isinstance(layer, _ADAPTIVE_AVERAGE_POOLS)
    size = _pair(layer.output_size, 1, flat=isinstance(layer, nn.AdaptiveAvgPool1d))
    return AveragePooling(
        shape,
        lambda x: F.adaptive_avg_pool2d(x, tuple(size)),
        torch.ops.aten._adaptive_avg_pool2d_backward,
    )


def _max_pooling(layer: nn.MaxPool1d | nn.MaxPool2d, shape: torch.Size) -> MaxPooling:
    flat = isinstance(layer, nn.MaxPool1d)
    windows: tuple[Any, ...] = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    options = [
        _pair(option, neutral, flat=flat) for option, neutral in zip(windows, (1, 1, 0, 1), strict=True)
    ]
    return MaxPooling(shape, (*options, layer.ceil_mode))


def _average_pooling(layer: nn.AvgPool1d | nn.AvgPool2d, shape: torch.Size) -> AveragePooling:
    flat = isinstance(layer, nn.AvgPool1d)
    windows: tuple[Any, ...] = (layer.kernel_size, layer.stride, layer.padding)
    options: list[Any] = [
        _pair(option, neutral, flat=flat) for option, neutral in zip(windows, (1, 1, 0), strict=True)
    ]
    options += [layer.ceil_mode, layer.count_include_pad, getattr(layer, "divisor_override", None)]
    return AveragePooling(
        shape,
        lambda x: torch.ops.aten.avg_pool2d(x, *options),
        lambda q, x: torch.ops.aten.avg_pool2d_backward(q, x, *options),
    )


def _pair(option: Any, neutral: int, *, flat: bool) -> list[Any]:
    """Return an option for two dimensions; ``flat`` layers have one, and ``neutral`` in the other."""
    if flat:
        return [neutral, *(option if isinstance(option, tuple) else (option,))]
    return list(option) if isinstance(option, tuple) else [option, option]


def _blank(R: Tensor, shape: torch.Size) -> Tensor:
    """Return an uninitialised tensor (n, …) for operators that read only its shape and layout."""
    layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
    return torch.empty((R.shape[0], *shape[1:]), dtype=R.dtype, device=R.device, memory_format=layout)


def _in_two_dimensions(x: Tensor) -> Tensor:
    return x.unsqueeze(2) if x.dim() == 3 else x  # (B, C, L) -> (B, C, 1, L)


def _as_before(x: Tensor, like: Tensor) -> Tensor:
    return x.squeeze(2) if like.dim() == 3 else x  # (B, C, 1, L) -> (B, C, L)
