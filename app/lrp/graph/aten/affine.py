"""Convolutions, dense layers, products with constant matrices and batch normalisation."""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from app.lrp.graph.aten.call import Call, Translation, numbers
from app.lrp.graph.values import Constant, Signal, UntranslatableError, Value


def _convolution(dimensions: int) -> Translation:
    def translate(call: Call) -> Signal:
        x, weight = call.x, call.constant("weight")
        dilation = numbers(call["dilation"], dimensions)
        padding = call["padding"]
        if isinstance(padding, str):
            x, padding = _padded(call, x, padding, tuple(weight.tensor.shape[2:]), dilation)
        return call.emit(
            f"conv{dimensions}d",
            x,
            weights={"weight": weight, "bias": call.optional_constant("bias")},
            stride=numbers(call["stride"], dimensions),
            padding=numbers(padding, dimensions),
            dilation=dilation,
            groups=call["groups"],
        )

    return translate


def _padded(
    call: Call, x: Signal, mode: str, kernel: tuple[int, ...], dilation: list[int]
) -> tuple[Signal, list[int]]:
    """Return input and padding of a convolution whose padding is ``"same"`` or ``"valid"``."""
    total = [d * (k - 1) if mode == "same" else 0 for d, k in zip(dilation, kernel, strict=True)]
    before = [size // 2 for size in total]
    after = [size - left for size, left in zip(total, before, strict=True)]
    if before == after:
        return x, before
    pairs = [(left, right) for left, right in zip(before, after, strict=True)]
    pad = [size for pair in reversed(pairs) for size in pair]
    spatial = x.shape[2:]
    shape = *x.shape[:2], *(int(size) + sum(pair) for size, pair in zip(spatial, pairs, strict=True))
    return call.emit("pad", x, shape=shape, pad=pad, mode="constant", value=0.0), [0] * len(total)


def _linear(call: Call) -> Signal:
    weights = {"weight": call.constant("weight"), "bias": call.optional_constant("bias")}
    return call.emit("linear", call.x, weights=weights)


def _batch_norm(call: Call) -> Signal:
    if call["training"] or call["running_mean"] is None:
        raise UntranslatableError("it takes mean and variance from the batch")
    mean, variance = (call.constant(f"running_{name}").tensor.double() for name in ("mean", "var"))
    scale = (variance + call["eps"]).rsqrt()  # (channels,)
    if call["weight"] is not None:
        scale = scale * call.constant("weight").tensor.double()
    shift = -mean * scale
    if call["bias"] is not None:
        shift = shift + call.constant("bias").tensor.double()
    weights = {"scale": _of(scale, call.dtype), "shift": _of(shift, call.dtype)}
    return call.emit("batch_norm", call.x, weights=weights)


def _matmul(call: Call) -> Value:
    first, second = (call[name] for name in ("self", "mat2" if "mat2" in call else "other"))
    return product(call, first, second)


def product(call: Call, first: Value, second: Value) -> Signal:
    """Return the matrix product of two values, at least one of which is a signal."""
    if min(len(first.shape), len(second.shape)) < 2:
        raise UntranslatableError("it multiplies by a vector")
    if isinstance(second, Constant) and len(second.shape) == 2 and not second.is_cut:  # (..., n, k) (k, m)
        weight = Constant(second.tensor.T, second.shape[::-1])
        return call.emit("linear", first, weights={"weight": weight})
    if (
        isinstance(first, Constant) and len(first.shape) == 2 and not first.is_cut
    ):  # (n, k) (..., k, m) = ((..., m, k) (k, n))ᵀ
        turned = transposed(call, second)
        shape = *turned.shape[:-1], first.shape[0]
        return transposed(call, call.emit("linear", turned, shape=shape, weights={"weight": first}))
    return call.emit("matmul", first, second)


def transposed(call: Call, x: Value) -> Signal:
    """Return ``x`` with its last two axes exchanged."""
    axes = list(range(len(x.shape)))
    axes[-2:] = axes[-1], axes[-2]
    return call.emit("permute", x, shape=tuple(x.shape[axis] for axis in axes), axes=axes)


def _add_matmul(call: Call) -> Signal:
    if call["alpha"] != 1 or call["beta"] != 1:
        raise UntranslatableError("its alpha and beta must be 1")
    result = product(call, call["mat1"], call["mat2"])
    bias = call["self"]
    if result.op == "linear" and isinstance(bias, Constant) and bias.tensor.dim() == 1:
        return call.emit("linear", *result.inputs, weights={**result.weights, "bias": bias})
    return call.emit("add", result, bias)


def _of(tensor: Tensor, dtype: torch.dtype) -> Constant:
    return Constant(tensor.to(dtype), tuple(tensor.shape))


def _embedding(call: Call) -> Signal:
    return call.emit("embedding", call.input("indices"), weights={"weight": call.constant("weight")})


TRANSLATIONS: Mapping[str, Translation] = MappingProxyType(
    {
        "conv1d": _convolution(1),
        "conv2d": _convolution(2),
        "linear": _linear,
        "batch_norm": _batch_norm,
        "matmul": _matmul,
        "mm": _matmul,
        "bmm": _matmul,
        "addmm": _add_matmul,
        "embedding": _embedding,
    }
)
"""By the operator's name."""
