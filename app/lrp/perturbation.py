"""Inputs and dropout masks of samples, as tensors: the random numbers of `app.lrp.samples` for one network."""

from collections.abc import Sequence

import torch
from torch import Tensor

from app.lrp.engine.ops.dropout import ActiveDropout
from app.lrp.samples import Samples


def noisy(x: Tensor, samples: Samples, numbers: Sequence[int], input_range: Tensor) -> Tensor:
    """Return the input ``x`` (1, …) with the noise of the samples with these ``numbers``, (n, …).

    ``input_range`` is the largest minus the smallest input, broadcastable to it. The sum is not clipped.
    """
    noise = torch.from_numpy(samples.deviations(numbers, x.shape[1:])).to(x)  # (n, …)
    return x + samples.noise * input_range.to(x) * noise


def factors_of(
    layers: Sequence[ActiveDropout], activations: Sequence[Tensor], samples: Samples, numbers: Sequence[int]
) -> dict[int, Tensor]:
    """Return what dropout multiplies units with in the samples with these ``numbers``, (n, …), by index of layer.

    ``activations`` are the inputs of all layers of the network, (1, …).
    """
    shapes = [(layer.mask_shape(activations[layer.index].shape), layer.rate) for layer in layers]
    masks = (torch.from_numpy(mask) for mask in samples.masks(numbers, shapes))  # (n, …)
    x = activations[0]
    return {
        layer.index: layer.factors(mask.to(x.device), x.dtype)
        for layer, mask in zip(layers, masks, strict=True)
    }
