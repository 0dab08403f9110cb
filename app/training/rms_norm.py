"""Normalisation by the root mean square of a channel, and limits on biases that let a network keep relevance."""

import copy
import itertools
from typing import Any

import torch
from torch import Tensor, nn


class RmsNorm(nn.Module):
    """Division of each channel by its root mean square over the batch, then a gain and a bias for each channel.

    Nothing is subtracted, so that the layer folds into the weights before it and leaves their bias alone (the
    'bias-free' batch normalisation of Mohan et al. 2020). In evaluation mode the running mean square is used.
    """

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum = momentum
        self.eps = eps
        self.gain = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.mean_square: Tensor
        self.register_buffer("mean_square", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` (B, C) or (B, C, H, W)."""
        mean_square = self.mean_square
        if self.training:
            mean_square = channel_mean_square(x)
            self.mean_square.lerp_(mean_square.detach(), self.momentum)
        shape = _channel_shape(x)
        # In x's precision: a float32 result would take twice the memory traffic.
        scale, bias = self._scale(mean_square).to(x.dtype), self.bias.to(x.dtype)
        return torch.addcmul(bias.view(shape), x, scale.view(shape))

    @property
    def scale(self) -> Tensor:
        """Factor of each channel in evaluation mode (C,)."""
        return self._scale(self.mean_square)

    def _scale(self, mean_square: Tensor) -> Tensor:
        return self.gain * (mean_square + self.eps).rsqrt()


class _MeanSquare(torch.autograd.Function):
    """Mean square of each channel. Autograd's own gradient takes twice the time of a convolution's.

    It divides and multiplies tensors of the size of the input, here the factors of the channels.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Return the mean squares, in float32 or more: (B, C, …) -> (C,)."""
        ctx.save_for_backward(x)
        dtype = torch.promote_types(x.dtype, torch.float32)
        return x.square().mean([d for d in range(x.dim()) if d != 1], dtype=dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return the gradient of the input, (B, C, …)."""
        x: Tensor = ctx.saved_tensors[0]
        factors = gradient * (2 * gradient.numel() / x.numel())
        return x * factors.to(x.dtype).view(_channel_shape(x))


def channel_mean_square(x: Tensor) -> Tensor:
    """Return the mean square of each channel, in float32 or more: (B, C) or (B, C, H, W) -> (C,)."""
    mean_square: Tensor = _MeanSquare.apply(x)
    return mean_square


def _channel_shape(x: Tensor) -> tuple[int, ...]:
    """Return the shape in which values of the channels, (C,), are broadcast to ``x`` (B, C, …)."""
    return (1, -1) + (1,) * (x.dim() - 2)


def scaled_filters(weight: Tensor, scale: Tensor) -> Tensor:
    """Return the weights (C, …) of a layer, those of each output multiplied by its entry of ``scale`` (C,)."""
    return weight * scale.view(-1, *[1] * (weight.dim() - 1))


def limit_biases(network: nn.Sequential, limit: float) -> None:
    """Clamp the biases of `RmsNorm` in place: after a convolution to at most ``limit``, else to ±``limit``.

    With a limit of 0 the folded network keeps relevance under z⁺: no bias is in a denominator (Montavon et al.
    2017).
    """
    with torch.no_grad():
        for layer, norm in itertools.pairwise(network):
            if isinstance(norm, RmsNorm):
                norm.bias.clamp_(None if isinstance(layer, nn.Conv2d) else -limit, limit)


def fuse_rms_norm(layer: nn.Conv2d | nn.Linear, norm: RmsNorm) -> nn.Conv2d | nn.Linear:
    """Return the layer that computes ``layer``, which has no bias, followed by ``norm`` in evaluation mode."""
    fused = copy.deepcopy(layer)
    fused.weight = nn.Parameter(scaled_filters(layer.weight.detach(), norm.scale.detach()))
    fused.bias = nn.Parameter(norm.bias.detach().clone())
    return fused
