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
    dropouts: Sequence[ActiveDropout], x: Tensor, samples: Samples, numbers: Sequence[int]
) -> dict[int, Tensor]:
    """Return what dropout multiplies units with in the samples with these ``numbers``, by index of the node.

    They are shaped like the output of the node for a batch of the samples, or broadcastable to it. ``x`` is any
    tensor of the device and precision of the network.
    """
    masks = samples.masks(numbers, [(dropout.mask_shape, dropout.rate) for dropout in dropouts])
    return {
        dropout.index: dropout.factors(torch.from_numpy(mask).to(x.device), x.dtype)
        for dropout, mask in zip(dropouts, masks, strict=True)
    }
