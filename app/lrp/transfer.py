"""Copies between main memory and a device.

A GPU reads and writes page-locked memory by itself; from and to other memory, its driver copies once more. torch
keeps the page-locked buffers for the next batches. Copies are on the stream of the pass: a batch is computed
before the next one is formed, so that there is nothing that a second stream could overlap with.
"""

import torch
from torch import Tensor


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """Return a tensor in main memory on ``device``. The processor does not wait for the copy to a GPU."""
    if device.type != "cuda":
        return x.to(device)
    return _page_locked(x).copy_(x).to(device, non_blocking=True)


def to_memory(x: Tensor) -> Tensor:
    """Return a tensor in main memory, once it is computed."""
    if x.device.type != "cuda":
        return x.cpu()
    return _page_locked(x).copy_(x)


def _page_locked(x: Tensor) -> Tensor:
    """Return a buffer in page-locked memory for ``x``, with its layout."""
    return torch.empty_like(x, device="cpu", pin_memory=True)
