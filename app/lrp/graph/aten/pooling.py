"""Pooling, its opposite, means and sums."""

import math
from collections.abc import Mapping
from types import MappingProxyType

from app.lrp.graph.aten.call import Call, Translation, axis_of, fixed, numbers, unbatched
from app.lrp.graph.graph import Shape
from app.lrp.graph.values import Signal, UntranslatableError, Value


def _max_pool(dimensions: int) -> Translation:
    def translate(call: Call) -> Signal:
        kernel = numbers(call["kernel_size"], dimensions)
        return call.emit(
            f"max_pool{dimensions}d",
            call.x,
            kernel_size=kernel,
            stride=numbers(call["stride"] or kernel, dimensions),
            padding=numbers(call["padding"], dimensions),
            dilation=numbers(call["dilation"], dimensions),
            ceil_mode=call["ceil_mode"],
        )

    return translate


def _average_pool(dimensions: int) -> Translation:
    def translate(call: Call) -> Signal:
        kernel = numbers(call["kernel_size"], dimensions)
        more = {"divisor_override": call["divisor_override"]} if dimensions == 2 else {}
        return call.emit(
            f"avg_pool{dimensions}d",
            call.x,
            kernel_size=kernel,
            stride=numbers(call["stride"] or kernel, dimensions),
            padding=numbers(call["padding"], dimensions),
            ceil_mode=call["ceil_mode"],
            count_include_pad=call["count_include_pad"],
            **more,
        )

    return translate


def _adaptive_pool(op: str, dimensions: int) -> Translation:
    def translate(call: Call) -> Signal:
        return call.emit(op, call.x, output_size=numbers(call["output_size"], dimensions))

    return translate


def _adaptive_max_pool(call: Call) -> list[Value]:
    size = numbers(call["output_size"], 2)
    return [call.emit("adaptive_max_pool2d", call.x, output_size=size)]


def _upsampling(mode: str) -> Translation:
    def translate(call: Call) -> Signal:
        factors = call.get("scale_factors")
        if factors is None and call.get("scales_h") is not None:
            factors = [call["scales_h"], call["scales_w"]]
        size = [fixed(size) for size in call.shape[2:]] if factors is None else None
        corners = call["align_corners"] if mode == "bilinear" else None
        return call.emit(
            "upsample", call.x, size=size, scale_factor=factors, mode=mode, align_corners=corners
        )

    return translate


def _reduction(op: str) -> Translation:
    def translate(call: Call) -> Signal:
        x = call.x
        if "dim" not in call or not call["dim"]:
            raise UntranslatableError("it reduces the batch axis")
        axes = reduced_axes(call["dim"], x.shape)
        return call.emit(op, x, axes=axes, keepdim=call["keepdim"])

    return translate


def _variance(call: Call) -> Signal:
    """Write out the mean square of x - mean, times n / (n - correction)."""
    return _with_moments(call)[0]


def _deviation(call: Call) -> Signal:
    return call.emit("pow", _variance(call), exponent=0.5)


def _variance_and_mean(call: Call) -> list[Value]:
    return list(_with_moments(call))


def _with_moments(call: Call) -> tuple[Signal, Signal]:
    """Return variance and mean over axes."""
    x = call.x
    if "dim" not in call or not call["dim"]:
        raise UntranslatableError("it reduces the batch axis")
    axes = reduced_axes(call["dim"], x.shape)
    count = math.prod(fixed(x.shape[axis]) for axis in axes)
    correction = call.get("unbiased", call.get("correction"))
    freedom = count - (1 if correction is None else float(correction))
    if freedom <= 0:
        raise UntranslatableError(f"it divides by {freedom:g}")
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    mean = call.emit("mean", x, shape=kept, axes=axes, keepdim=True)
    squares = call.emit("pow", call.emit("sub", x, mean, shape=x.shape), shape=x.shape, exponent=2.0)
    options = {"axes": axes, "keepdim": call["keepdim"]}
    variance = call.emit("mean", squares, **options)
    if freedom != count:
        variance = call.emit("mul", variance, call.number(count / freedom))
    return variance, mean if call["keepdim"] else call.emit("mean", x, **options)


def _largest(call: Call) -> Signal:
    axes = reduced_axes(call["dim"], call.x.shape)
    if len(axes) != 1:
        raise UntranslatableError("it must reduce one axis")
    return call.emit("amax", call.x, axis=axes[0], keepdim=call["keepdim"])


def _largest_with_index(call: Call) -> list[Value]:
    if "dim" not in call:
        raise UntranslatableError("it reduces the batch axis")
    return [_largest(call)]


def reduced_axes(axes: int | list[int], shape: Shape) -> list[int]:
    """Return the axes of a reduction in order, none of which may be that of the batch."""
    ordered = sorted(axis_of(axis, shape) for axis in numbers(axes, 1))
    for axis in ordered:
        unbatched(shape[axis])
    return ordered


TRANSLATIONS: Mapping[str, Translation] = MappingProxyType(
    {
        "max_pool1d": _max_pool(1),
        "max_pool2d": _max_pool(2),
        "avg_pool1d": _average_pool(1),
        "avg_pool2d": _average_pool(2),
        "adaptive_avg_pool1d": _adaptive_pool("adaptive_avg_pool1d", 1),
        "adaptive_avg_pool2d": _adaptive_pool("adaptive_avg_pool2d", 2),
        "adaptive_max_pool2d": _adaptive_max_pool,
        "upsample_nearest2d": _upsampling("nearest"),
        "_upsample_nearest_exact2d": _upsampling("nearest-exact"),
        "upsample_bilinear2d": _upsampling("bilinear"),
        "mean": _reduction("mean"),
        "sum": _reduction("sum"),
        "var": _variance,
        "std": _deviation,
        "var_mean": _variance_and_mean,
        "amax": _largest,
        "max": _largest_with_index,
        "any": _largest,
    }
)
"""By the operator's name."""
