"""The device that a network runs on."""

import torch

from app.errors import RefusedToStartError


def pick_device(name: str) -> torch.device:
    """Return a torch device; ``auto`` is CUDA if available, else the CPU.

    Raises `RefusedToStartError` for an unknown or unavailable device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise RefusedToStartError(f"device {name!r} is unknown: use auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RefusedToStartError(f"device {name!r} was asked for, but torch sees no CUDA device here")
    return device
