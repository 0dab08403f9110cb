"""Division by denominators that may be zero."""

import torch
from torch import Tensor


def divided(R: Tensor, z: Tensor, epsilon: float) -> Tensor:
    """Return R / s(z), a new tensor; for ε = 0 it is R / z, and 0 where z = 0."""
    if epsilon == 0:
        return torch.where(z == 0, 0, R / z)
    denominators = stabilized(z, epsilon)
    return torch.div(R, denominators, out=denominators) if R.shape == z.shape else R / denominators


def absorbed(R: Tensor, q: Tensor, epsilon: float) -> Tensor:
    """Return what the stabilizer of q = R / s(z) absorbs, ε · sgn(z) · q; for ε = 0 it is R where z = 0.

    The sign of s(z) is that of z, so that sgn(z) · q = |q| · sgn(R).
    """
    if epsilon == 0:
        return R.masked_fill(q != 0, 0)
    return torch.copysign(q, R).mul_(epsilon)


def stabilized(z: Tensor, epsilon: float) -> Tensor:
    """Return s(z) = z + ε·sgn(z) with sgn(0) = +1, a new tensor."""
    return stabilizer(z, epsilon).add_(z)


def stabilizer(z: Tensor, epsilon: float) -> Tensor:
    """Return ε·sgn(z) with sgn(0) = +1, a new tensor.

    For -0.0, the sum of contributions that are all 0 and get no relevance, sgn is -1. ``torch.copysign`` takes
    half the time of ``torch.where``, or less. A number in main memory is taken by every device.
    """
    return torch.copysign(torch.tensor(epsilon, dtype=z.dtype, device="cpu"), z)
