"""Division by denominators that may be zero."""

import torch
from torch import Tensor


def divided(R: Tensor, z: Tensor, epsilon: float) -> Tensor:
    """Return R / s(z); for ε = 0 it is R / z, and 0 where z = 0."""
    if epsilon == 0:
        return torch.where(z == 0, 0, R / z)
    return R / stabilized(z, epsilon)


def stabilized(z: Tensor, epsilon: float) -> Tensor:
    """Return s(z) = z + ε·sgn(z) with sgn(0) = +1."""
    return torch.where(z < 0, z - epsilon, z + epsilon)
