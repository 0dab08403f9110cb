"""Convolutions with weights in oneDNN's formats."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from app.lrp.engine.ops.packed import PackedConvolution, Threshold, packs

NO_THRESHOLD: Threshold = ("none", [], "")
W = torch.randn(24, 16, 3, 3, generator=torch.Generator().manual_seed(0))
B = torch.randn(24, generator=torch.Generator().manual_seed(1))

pytestmark = pytest.mark.skipif(not packs(W), reason="oneDNN is not available")


def packed(stride: int = 1, dilation: int = 1) -> PackedConvolution:
    """A convolution of the weights above."""
    options = {"padding": (1, 1), "stride": (stride, stride), "dilation": (dilation, dilation)}
    return PackedConvolution(W, B, NO_THRESHOLD, **options)


def inputs(rows: int, side: int) -> Tensor:
    """Random inputs in the memory format of the engine."""
    x = torch.randn(rows, 16, side, side, generator=torch.Generator().manual_seed(rows))
    return x.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
def test_every_shape_gives_the_plain_convolution(stride: int, dilation: int) -> None:
    convolution = packed(stride, dilation)
    with torch.inference_mode():
        for rows, side in ((1, 8), (8, 8), (1, 8), (3, 16), (32, 8), (1, 32), (8, 8)):
            x = inputs(rows, side)
            wanted = F.conv2d(x, W, B, stride, 1, dilation)
            torch.testing.assert_close(convolution(x), wanted, rtol=1e-5, atol=1e-5)


def test_a_threshold_is_applied() -> None:
    convolution = PackedConvolution(W, B, ("relu", [], ""), padding=(1, 1), stride=(1, 1), dilation=(1, 1))
    x = inputs(2, 8)
    with torch.inference_mode():
        torch.testing.assert_close(convolution(x), F.conv2d(x, W, B, 1, 1).relu(), rtol=1e-5, atol=1e-5)


def test_no_call_converts_the_weights_again(capfd: pytest.CaptureFixture[str]) -> None:
    convolution = packed()
    with torch.inference_mode():
        for rows in (1, 8, 32):
            convolution(inputs(rows, 16))
        capfd.readouterr()
        with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
            for rows in (1, 8, 32):
                convolution(inputs(rows, 16))
    executed = [line for line in capfd.readouterr().out.splitlines() if ",exec," in line]
    assert sum("convolution" in line for line in executed) == 3
    assert not [line for line in executed if "reorder" in line]


def test_equal_formats_are_kept_once() -> None:
    convolution = packed()
    with torch.inference_mode():
        for rows in range(1, 33):
            convolution(inputs(rows, 16))
    kept = {id(one) for one in convolution._by_shape.values()}
    assert len(convolution._by_shape) == 32
    assert len(kept) == len(convolution._by_format) <= 4
