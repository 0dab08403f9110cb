"""LRP as dense matrix algebra in NumPy, float64, for one input at a time. It shares no code with `app`.

Every layer is written as a dense matrix W (out, in). W * x (out, in) is the contribution of each input to each
output. A rule computes from it how the relevance of an output is distributed to the inputs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import nn

Array = npt.NDArray[np.float64]
STABILIZER = 1e-6

HAND_CALCULATED = {
    "zero": ({}, [0.0, 5.0]),
    "epsilon": ({"epsilon": 0.25}, [0.0, 4.545455]),
    "gamma": ({"gamma": 0.25}, [0.285714, 4.571429]),
    "z_plus": ({}, [1.0, 3.5]),
    "alpha_beta": ({"alpha": 2.0, "beta": 1.0}, [0.333333, 7.0]),
    "w_square": ({}, [2.142857, 2.321429]),
    "flat": ({}, [2.5, 2.5]),
    "z_box": ({}, [1.955128, 3.044872]),
}
"""Rule -> (parameters, relevance of the input) of a layer with two inputs and outputs, calculated by hand."""


@dataclass(frozen=True)
class Linear:
    """The layer z = Wx + b. ``connected`` is 1 where an output depends on an input, and 0 elsewhere."""

    W: Array  # (out, in)
    b: Array  # (out,)
    connected: Array  # (out, in)


@dataclass(frozen=True)
class OracleResult:
    """Logits (C,), and the relevance at the input of each layer, from the first layer to the last."""

    logits: Array
    relevances: tuple[Array, ...]


def explain(
    model: nn.Sequential,
    x: Array,
    rules: Sequence[tuple[str, Mapping[str, float]]],
    start: Array,
    low: float = -1.0,
    high: float = 1.0,
) -> OracleResult:
    """Return the relevance of one input ``x``, without batch axis.

    Args:
        model: Layers.
        x: Input of the first layer.
        rules: Rule and parameters of each layer; ignored for layers without weights.
        start: Relevance of the output (C,).
        low: Smallest value of an input, for z_box.
        high: Largest value of an input, for z_box.

    """
    inputs = []
    for layer in model:
        inputs.append(x)
        x = forward(layer, x)
    R, relevances = start, []
    for layer, a, (rule, parameters) in zip(reversed(model), reversed(inputs), reversed(rules), strict=True):
        R = backward(layer, a, R, rule, parameters, low, high)
        relevances.append(R)
    return OracleResult(x, tuple(reversed(relevances)))


def forward(layer: nn.Module, x: Array) -> Array:
    """Return the output of a layer for the input ``x``."""
    match layer:
        case nn.Linear():
            linear = as_linear(layer, x.shape)
            return linear.W @ x + linear.b
        case nn.Conv2d():
            linear = as_linear(layer, x.shape)
            z = linear.W @ x.ravel() + linear.b
            return z.reshape(
                layer.out_channels, *out_size(x.shape, layer.kernel_size, layer.stride, padding(layer))
            )
        case nn.ReLU():
            return np.maximum(x, 0)
        case nn.Flatten():
            return x.ravel()
        case nn.MaxPool2d():
            return (max_pooling_matrix(layer, x) @ x.ravel()).reshape(pooled_shape(layer, x.shape))
        case nn.AvgPool2d():
            return (average_pooling_matrix(layer, x.shape) @ x.ravel()).reshape(pooled_shape(layer, x.shape))
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
    """Return the relevance of a layer's input ``x``, given the relevance ``R`` of its output."""
    match layer:
        case nn.Linear() | nn.Conv2d():
            linear = as_linear(layer, x.shape)
            return backward_linear(linear, x.ravel(), R.ravel(), rule, parameters, low, high).reshape(x.shape)
        case nn.MaxPool2d():
            return (max_pooling_matrix(layer, x).T @ R.ravel()).reshape(x.shape)
        case nn.AvgPool2d():
            return distribute(
                average_pooling_matrix(layer, x.shape) * x.ravel(), 0.0, R.ravel(), STABILIZER
            ).reshape(x.shape)
        case _:
            return R.reshape(x.shape)


def backward_linear(
    linear: Linear,
    x: Array,
    R: Array,
    rule: str,
    parameters: Mapping[str, float],
    low: float,
    high: float,
) -> Array:
    """Return the relevance (in,) of the input ``x`` (in,) of a layer with weights, given ``R`` (out,)."""
    W, b = linear.W, linear.b
    c = W * x  # (out, in)
    c_positive, c_negative = np.maximum(c, 0), np.minimum(c, 0)
    b_positive, b_negative = np.maximum(b, 0), np.minimum(b, 0)
    match rule:
        case "zero":
            return distribute(c, b, R, 0.0)
        case "epsilon":
            return distribute(c, b, R, parameters["epsilon"])
        case "z_plus":
            return distribute(c_positive, b_positive, R, STABILIZER)
        case "alpha_beta":
            positive = distribute(c_positive, b_positive, R, STABILIZER)
            negative = distribute(c_negative, b_negative, R, STABILIZER)
            return parameters["alpha"] * positive - parameters["beta"] * negative
        case "gamma":
            γ, z = parameters["gamma"], c.sum(1) + b
            above = distribute(c + γ * c_positive, b + γ * b_positive, R * (z > 0), STABILIZER)
            below = distribute(c + γ * c_negative, b + γ * b_negative, R * (z < 0), STABILIZER)
            return above + below
        case "z_box":
            return distribute(c - np.maximum(W, 0) * low - np.minimum(W, 0) * high, 0.0, R, STABILIZER)
        case "w_square":
            return distribute(W**2, b**2, R, STABILIZER)
        case "flat":
            return distribute(linear.connected, 0.0, R, STABILIZER)
        case _:
            raise NotImplementedError(rule)


def distribute(contributions: Array, bias: Array | float, R: Array, epsilon: float) -> Array:
    """Return ``R`` (out,) distributed to the inputs (in,) in proportion to contributions (out, in).

    The bias takes part in the denominator, so it absorbs relevance.
    """
    z = contributions.sum(1) + bias
    z = z + epsilon * np.where(z < 0, -1.0, 1.0)
    ratio = np.divide(R, z, out=np.zeros_like(z), where=z != 0)
    relevance: Array = contributions.T @ ratio
    return relevance


def as_linear(layer: nn.Linear | nn.Conv2d, shape: tuple[int, ...]) -> Linear:
    """Return a layer with weights as a dense matrix, for inputs of this shape."""
    w = layer.weight.detach().double().numpy()
    b = np.zeros(len(w)) if layer.bias is None else layer.bias.detach().double().numpy()
    if isinstance(layer, nn.Linear):
        return Linear(w, b, np.ones_like(w))
    W = convolution_matrix(w, shape, layer.stride, padding(layer))
    connected = convolution_matrix(np.ones_like(w), shape, layer.stride, padding(layer))
    return Linear(W, np.repeat(b, len(W) // len(b)), connected)


def padding(layer: nn.Conv2d) -> tuple[int, ...]:
    assert not isinstance(layer.padding, str)
    return layer.padding


def convolution_matrix(
    w: Array, shape: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...]
) -> Array:
    """Return the matrix (out·h·w, in·H·W) of a convolution w (out, in, kh, kw) of an image (in, H, W)."""
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
    """Return height and width of the output of a convolution or pooling."""
    height, width = (
        (size + 2 * p - k) // s + 1 for size, k, s, p in zip(shape[1:], kernel, stride, padding, strict=True)
    )
    return height, width


def average_pooling_matrix(layer: nn.AvgPool2d, shape: tuple[int, ...]) -> Array:
    """Return the matrix (out, in) of average pooling."""
    windows = pooling_windows(layer, shape)  # (out, in)
    matrix: Array = windows / windows.sum(1, keepdims=True)
    return matrix


def max_pooling_matrix(layer: nn.MaxPool2d, x: Array) -> Array:
    """Return the matrix (out, in) that selects the maximum of each window of ``x``, the first of equal ones."""
    windows = pooling_windows(layer, x.shape)  # (out, in)
    largest = np.where(windows == 1, x.ravel(), -np.inf).argmax(1)
    selection: Array = np.eye(x.size)[largest]
    return selection


def pooling_windows(layer: nn.AvgPool2d | nn.MaxPool2d, shape: tuple[int, ...]) -> Array:
    """Return a matrix (out, in) that is 1 where an input is in the window of an output."""
    kernel, stride = pair(layer.kernel_size), pair(layer.stride)
    channels = shape[0]
    w = np.eye(channels)[:, :, None, None] * np.ones(kernel)
    return convolution_matrix(w, shape, stride, (0, 0))


def pooled_shape(layer: nn.AvgPool2d | nn.MaxPool2d, shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0], *out_size(shape, pair(layer.kernel_size), pair(layer.stride), (0, 0)))


def pair(option: int | tuple[int, ...]) -> tuple[int, ...]:
    return (option, option) if isinstance(option, int) else option
