"""LRP written again as plain matrix algebra: NumPy, float64, one input at a time, nothing shared with `app`.

Every layer is made a dense matrix W (out, in), so that W * x is the table of what each input contributes to
each output, and every rule is a way to turn that table into shares of the outputs' relevance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import nn

Array = npt.NDArray[np.float64]
STABILIZER = 1e-6

HAND = {
    "zero": ({}, [0.0, 5.0]),
    "epsilon": ({"epsilon": 0.25}, [0.0, 4.545455]),
    "gamma": ({"gamma": 0.25}, [0.285714, 4.571429]),
    "z_plus": ({}, [1.0, 3.5]),
    "alpha_beta": ({"alpha": 2.0, "beta": 1.0}, [0.333333, 7.0]),
    "w_square": ({}, [2.142857, 2.321429]),
    "flat": ({}, [2.5, 2.5]),
    "z_box": ({}, [1.955128, 3.044872]),
}
"""Rule -> (parameters, relevance of the input) for a layer of two units, worked out by hand."""


@dataclass(frozen=True)
class Linear:
    """z = Wx + b, and which inputs each output sees: W, seen (out, in), b (out,)."""

    W: Array
    b: Array
    seen: Array


@dataclass(frozen=True)
class Explained:
    """Logits (C,), and the relevance at the input of each layer, first layer first."""

    logits: Array
    relevances: tuple[Array, ...]


def explain(
    model: nn.Sequential,
    x: Array,
    rules: Sequence[tuple[str, Mapping[str, float]]],
    start: Array,
    low: float = -1.0,
    high: float = 1.0,
) -> Explained:
    """Relevance of one input ``x`` (no batch axis) when each layer follows its (rule, parameters)."""
    inputs = []
    for layer in model:
        inputs.append(x)
        x = forward(layer, x)
    R, relevances = start, []
    for layer, a, (rule, parameters) in zip(reversed(model), reversed(inputs), reversed(rules), strict=True):
        R = backward(layer, a, R, rule, parameters, low, high)
        relevances.append(R)
    return Explained(x, tuple(reversed(relevances)))


def forward(layer: nn.Module, x: Array) -> Array:
    match layer:
        case nn.Linear():
            linear = linear_of(layer, x.shape)
            return linear.W @ x + linear.b
        case nn.Conv2d():
            linear = linear_of(layer, x.shape)
            z = linear.W @ x.ravel() + linear.b
            return z.reshape(
                layer.out_channels, *out_size(x.shape, layer.kernel_size, layer.stride, padding(layer))
            )
        case nn.ReLU():
            return np.maximum(x, 0)
        case nn.Flatten():
            return x.ravel()
        case nn.MaxPool2d():
            return (winners(layer, x) @ x.ravel()).reshape(pooled_shape(layer, x.shape))
        case nn.AvgPool2d():
            return (averages(layer, x.shape) @ x.ravel()).reshape(pooled_shape(layer, x.shape))
        case _:
            raise NotImplementedError(layer)


def backward(
    layer: nn.Module,
    x: Array,
    R: Array,
    rule: str,
    parameters: Mapping[str, float],
    low: float,
    high: float,
) -> Array:
    match layer:
        case nn.Linear() | nn.Conv2d():
            linear = linear_of(layer, x.shape)
            return weighted(linear, x.ravel(), R.ravel(), rule, parameters, low, high).reshape(x.shape)
        case nn.MaxPool2d():
            return (winners(layer, x).T @ R.ravel()).reshape(x.shape)
        case nn.AvgPool2d():
            return shared(averages(layer, x.shape) * x.ravel(), 0.0, R.ravel(), STABILIZER).reshape(x.shape)
        case _:
            return R.reshape(x.shape)


def weighted(
    linear: Linear,
    x: Array,
    R: Array,
    rule: str,
    parameters: Mapping[str, float],
    low: float,
    high: float,
) -> Array:
    """Relevance (in,) of a weighted layer's input: relevance.md, row by row."""
    W, b = linear.W, linear.b
    c = W * x  # (out, in)
    raising, lowering = np.maximum(c, 0), np.minimum(c, 0)
    b_raising, b_lowering = np.maximum(b, 0), np.minimum(b, 0)
    match rule:
        case "zero":
            return shared(c, b, R, 0.0)
        case "epsilon":
            return shared(c, b, R, parameters["epsilon"])
        case "z_plus":
            return shared(raising, b_raising, R, STABILIZER)
        case "alpha_beta":
            positive = shared(raising, b_raising, R, STABILIZER)
            negative = shared(lowering, b_lowering, R, STABILIZER)
            return parameters["alpha"] * positive - parameters["beta"] * negative
        case "gamma":
            γ, z = parameters["gamma"], c.sum(1) + b
            above = shared(c + γ * raising, b + γ * b_raising, R * (z > 0), STABILIZER)
            below = shared(c + γ * lowering, b + γ * b_lowering, R * (z < 0), STABILIZER)
            return above + below
        case "z_box":
            return shared(c - np.maximum(W, 0) * low - np.minimum(W, 0) * high, 0.0, R, STABILIZER)
        case "w_square":
            return shared(W**2, b**2, R, STABILIZER)
        case "flat":
            return shared(linear.seen, 0.0, R, STABILIZER)
        case _:
            raise NotImplementedError(rule)


def shared(contributions: Array, bias: Array | float, R: Array, epsilon: float) -> Array:
    """R (out,) shared among inputs by contributions (out, in), of which the bias takes its part too."""
    z = contributions.sum(1) + bias
    z = z + epsilon * np.where(z < 0, -1.0, 1.0)
    ratio = np.divide(R, z, out=np.zeros_like(z), where=z != 0)
    relevance: Array = contributions.T @ ratio
    return relevance


def linear_of(layer: nn.Linear | nn.Conv2d, shape: tuple[int, ...]) -> Linear:
    w = layer.weight.detach().double().numpy()
    b = np.zeros(len(w)) if layer.bias is None else layer.bias.detach().double().numpy()
    if isinstance(layer, nn.Linear):
        return Linear(w, b, np.ones_like(w))
    W = unrolled(w, shape, layer.stride, padding(layer))
    seen = unrolled(np.ones_like(w), shape, layer.stride, padding(layer))
    return Linear(W, np.repeat(b, len(W) // len(b)), seen)


def padding(layer: nn.Conv2d) -> tuple[int, ...]:
    assert not isinstance(layer.padding, str)
    return layer.padding


def unrolled(w: Array, shape: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...]) -> Array:
    """The matrix (out·h·w, in·H·W) of a convolution w (out, in, kh, kw) of an image (in, H, W)."""
    out, inner, *kernel = w.shape
    rows, columns = out_size(shape, kernel, stride, padding)
    matrix = np.zeros((out, rows, columns, *shape))
    for i, j in np.ndindex(rows, columns):
        for k, m in np.ndindex(*kernel):
            y, x = i * stride[0] + k - padding[0], j * stride[1] + m - padding[1]
            if 0 <= y < shape[1] and 0 <= x < shape[2]:
                matrix[:, i, j, :, y, x] = w[:, :, k, m]
    return matrix.reshape(out * rows * columns, inner * shape[1] * shape[2])


def out_size(
    shape: tuple[int, ...], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> tuple[int, int]:
    height, width = (
        (size + 2 * p - k) // s + 1 for size, k, s, p in zip(shape[1:], kernel, stride, padding, strict=True)
    )
    return height, width


def averages(layer: nn.AvgPool2d, shape: tuple[int, ...]) -> Array:
    """The matrix of average pooling: within a channel, every pixel of a window counts alike."""
    windows = pooling_windows(layer, shape)
    matrix: Array = windows / windows.sum(1, keepdims=True)
    return matrix


def winners(layer: nn.MaxPool2d, x: Array) -> Array:
    """The matrix that picks each window's largest value of ``x``, the first of equal ones."""
    windows = pooling_windows(layer, x.shape)
    largest = np.where(windows == 1, x.ravel(), -np.inf).argmax(1)
    picked: Array = np.eye(x.size)[largest]
    return picked


def pooling_windows(layer: nn.AvgPool2d | nn.MaxPool2d, shape: tuple[int, ...]) -> Array:
    kernel, stride = pair(layer.kernel_size), pair(layer.stride)
    channels = shape[0]
    w = np.eye(channels)[:, :, None, None] * np.ones(kernel)
    return unrolled(w, shape, stride, (0, 0))


def pooled_shape(layer: nn.AvgPool2d | nn.MaxPool2d, shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0], *out_size(shape, pair(layer.kernel_size), pair(layer.stride), (0, 0)))


def pair(option: int | tuple[int, ...]) -> tuple[int, ...]:
    return (option, option) if isinstance(option, int) else option
