"""Weights of convolutions in the blocked formats of oneDNN, which computes on a CPU."""

from collections.abc import Sequence

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.bfloat16)
"""Precisions of which oneDNN keeps weights in a format of its own."""
Threshold = tuple[str, list[float], str]
"""oneDNN's name, numbers and algorithm of a fused operation."""


def packs(w: Tensor) -> bool:
    """Return whether oneDNN can keep weights like ``w`` in a format of its own."""
    return (
        w.device.type == "cpu"
        and w.dtype in DTYPES
        and torch.backends.mkldnn.is_available()
        and (w.dtype is torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported())
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
        and hasattr(torch.ops.mkldnn, "_get_mkldnn_serialized_md")
    )


class PackedConvolution:
    """A convolution in two dimensions with a fused threshold: (B, in, H, W) -> (B, out, H, W).

    The format that oneDNN computes in depends on the processor and on the shape of the input, the number of rows
    included. Weights in another format are converted by each call: with AVX2 this took 7 ms for weights of
    128 × 128 × 3 × 3, and the convolution of eight inputs of 16 × 16 itself 5 ms. So the weights are kept in the
    format of every shape that was met; most layers have two, one for a single row and one for several.
    """

    def __init__(
        self,
        w: Tensor,
        b: Tensor | None,
        threshold: Threshold,
        *,
        padding: Sequence[int],
        stride: Sequence[int],
        dilation: Sequence[int],
    ) -> None:
        self._options = padding, stride, dilation, 1
        self._bias, self._threshold = b, threshold
        self._last = w
        """The weights, plain until they are packed for the first time."""
        self._by_format: dict[bytes, Tensor] = {}
        self._by_shape: dict[torch.Size, Tensor] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """Return the convolution of ``x``."""
        packed = self._by_shape.get(x.shape)
        if packed is None:
            packed = self._by_shape[x.shape] = self._packed(x.shape)
        result: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, packed, self._bias, *self._options, *self._threshold
        )
        return result

    def _packed(self, shape: torch.Size) -> Tensor:
        """Return the weights in the format for inputs of ``shape``."""
        last = self._last  # another thread may replace it
        plain = last.to_dense() if last.is_mkldnn else last
        packed = torch.ops.mkldnn._reorder_convolution_weight(plain.contiguous(), *self._options, list(shape))
        described = bytes(torch.ops.mkldnn._get_mkldnn_serialized_md(packed).numpy())
        self._last = kept = self._by_format.setdefault(described, packed)
        return kept
