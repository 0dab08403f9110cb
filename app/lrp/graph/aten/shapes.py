"""Operations that move values, and leave them as they are."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import torch

from app.lrp.graph.aten.call import Call, Translation, axis_of, fixed, numbers, unbatched
from app.lrp.graph.aten.logic import truth
from app.lrp.graph.graph import Shape
from app.lrp.graph.values import Constant, Signal, UntranslatableError, Value


def _alias(call: Call) -> Signal:
    return call.x


def _cast(call: Call) -> Value:
    x = call.x
    if x.dtype == call.dtype:
        return x
    if call.dtype == torch.bool:
        return truth(call, x)
    if x.dtype.is_floating_point or (x.is_relevant and call.dtype.is_floating_point):
        raise UntranslatableError(f"it converts {x.dtype} to {call.dtype}")
    return call.emit("identity", x)


def _dropout(call: Call) -> Signal:
    return _switched_off(call, channels=False)


def _feature_dropout(call: Call) -> Signal:
    return _switched_off(call, channels=True)


def _switched_off(call: Call, *, channels: bool) -> Signal:
    """Return a dropout node; also for a probability of 0, so that names of layers do not depend on it."""
    if call["train"]:
        raise UntranslatableError("it is active in evaluation too")
    return call.emit("dropout", call.x, p=call["p"], channels=channels)


def _reshape(call: Call) -> Value:
    return reshaped(call, call.x, call.shape)


def reshaped(call: Call, x: Value, shape: Shape) -> Signal:
    """Return ``x`` in another shape."""
    x = call.signal(x)
    if x.shape == shape:
        return x
    return Signal("reshape", (x,), shape, x.dtype, call.origin, {"shape": list(shape)})


def _permuted(call: Call, axes: Sequence[int]) -> Signal:
    x = call.x
    if list(axes) == list(range(len(axes))):
        return x
    return call.emit("permute", x, shape=tuple(x.shape[axis] for axis in axes), axes=list(axes))


def _permute(call: Call) -> Signal:
    shape = call.x.shape
    return _permuted(call, [axis_of(axis, shape) for axis in call["dims"]])


def _transpose(call: Call) -> Signal:
    shape = call.x.shape
    names = ("dim0", "dim1") if "dim0" in call else ("axis0", "axis1")
    first, second = (axis_of(call[name], shape) for name in names)
    axes = list(range(len(shape)))
    axes[first], axes[second] = second, first
    return _permuted(call, axes)


def _matrix_transpose(call: Call) -> Signal:
    axes = list(range(len(call.x.shape)))
    axes[-2:] = axes[:-3:-1]
    return _permuted(call, axes)


def _move_axes(call: Call) -> Signal:
    shape = call.x.shape
    source, destination = (
        [axis_of(axis, shape) for axis in numbers(call[name], 1)] for name in ("source", "destination")
    )
    axes = [axis for axis in range(len(shape)) if axis not in source]
    for new, old in sorted(zip(destination, source, strict=True)):
        axes.insert(new, old)
    return _permuted(call, axes)


def _expand(call: Call) -> Signal:
    x = call.x
    if x.shape == call.shape:
        return x
    shape = call.shape
    return Signal("expand", (x,), shape, x.dtype, call.origin, {"shape": list(shape)})


def _repeat(call: Call) -> Signal:
    x = call.x
    added = len(call.shape) - len(x.shape)
    sizes = (1,) * added + x.shape
    repeated = [(old, new) for old, new in zip(sizes, call.shape, strict=True) if old != new]
    if any(old != 1 for old, _ in repeated):
        raise UntranslatableError("it repeats an axis whose size is not 1")
    return Signal("expand", (x,), call.shape, x.dtype, call.origin, {"shape": list(call.shape)})


def sliced(call: Call, x: Signal, axis: int, start: int, stop: int, step: int = 1) -> Signal:
    """Return a part of ``x`` along an axis."""
    size = fixed(x.shape[axis])
    length = len(range(start, stop, step))
    if length == size:
        return x
    shape = *x.shape[:axis], length, *x.shape[axis + 1 :]
    return call.emit("slice", x, shape=shape, axis=axis, start=start, stop=stop, step=step)


def _slice(call: Call) -> Signal:
    x = call.x
    axis = axis_of(call["dim"], x.shape)
    if x.shape == call.shape and call["step"] == 1:
        return x
    start, stop, step = slice(call["start"], call["end"], call["step"]).indices(fixed(x.shape[axis]))
    return sliced(call, x, axis, start, stop, step)


def _narrow(call: Call) -> Signal:
    x = call.x
    axis = axis_of(call["dim"], x.shape)
    start = call["start"] % fixed(x.shape[axis])
    return sliced(call, x, axis, start, start + call["length"])


def _split(call: Call) -> list[Value]:
    x = call.x
    axis, parts, start = axis_of(call["dim"], x.shape), [], 0
    for shape in call.shapes:
        stop = start + fixed(shape[axis])
        parts.append(sliced(call, x, axis, start, stop))
        start = stop
    return list(parts)


def selected(call: Call, x: Signal, axis: int, index: int) -> Signal:
    """Return one index of ``x`` along an axis, without that axis; from the end if it is negative."""
    size = unbatched(x.shape[axis])
    if isinstance(size, int):
        index %= size
    shape = *x.shape[:axis], *x.shape[axis + 1 :]
    if x.op == "cat" and x.attributes["axis"] == axis and all(part.shape[axis] == 1 for part in x.inputs):
        return reshaped(call, x.inputs[index], shape)
    return call.emit("select", x, shape=shape, axis=axis, index=index)


def _select(call: Call) -> Signal:
    x = call.x
    return selected(call, x, axis_of(call["dim"], x.shape), call["index"])


def _unbind(call: Call) -> list[Value]:
    x = call.x
    axis = axis_of(call["dim"], x.shape)
    return [selected(call, x, axis, index) for index in range(fixed(x.shape[axis]))]


def _index(call: Call) -> Signal:
    x, indices = call.x, call["indices"]
    used = [(axis, index) for axis, index in enumerate(indices) if index is not None]
    if len(used) != 1 or not isinstance(used[0][1], Constant):
        raise UntranslatableError("it indexes several axes, or by values that depend on the network's input")
    return _indexed(call, x, *used[0])


def _index_select(call: Call) -> Signal:
    return _indexed(call, call.x, axis_of(call["dim"], call.x.shape), call.constant("index"))


def _indexed(call: Call, x: Signal, axis: int, index: Constant) -> Signal:
    size = fixed(x.shape[axis])
    tensor = index.tensor.nonzero()[:, 0] if index.tensor.dtype == torch.bool else index.tensor % size
    flat = Constant(tensor.flatten(), (tensor.numel(),))
    shape = *x.shape[:axis], tensor.numel(), *x.shape[axis + 1 :]
    taken = call.emit("index_select", x, shape=shape, weights={"index": flat}, axis=axis)
    return reshaped(call, taken, call.shape)


def _gather(call: Call) -> Signal:
    axis = axis_of(call["dim"], call.x.shape)
    index = call["index"]
    if not isinstance(index, Constant):
        raise UntranslatableError("its index depends on the network's input")
    index = _without_repetition(index, axis)
    if index.is_batched:
        raise UntranslatableError("its index is not the same for all rows of a batch")
    return call.emit("gather", call.x, index, axis=axis)


def _without_repetition(value: Constant, kept: int) -> Constant:
    """Return a constant with a size of 1 along axes that repeat it, except the axis ``kept``."""
    tensor, shape = value.tensor, value.shape
    for axis in range(tensor.dim()):
        first = tensor.narrow(axis, 0, 1)
        if axis != kept and torch.equal(first.expand_as(tensor), tensor):
            tensor, shape = first, (*shape[:axis], 1, *shape[axis + 1 :])
    return replace(value, tensor=tensor, shape=shape)


def _cat(call: Call) -> Signal:
    values = [value for value in call["tensors"] if 0 not in value.shape]
    axis = axis_of(call["dim"], call.shape)
    return call.emit("cat", *values, axis=axis)


def _stack(call: Call) -> Signal:
    axis = axis_of(call["dim"], call.shape)
    shape = *call.shape[:axis], 1, *call.shape[axis + 1 :]
    return call.emit("cat", *(reshaped(call, value, shape) for value in call["tensors"]), axis=axis)


def _pad(call: Call) -> Signal:
    pad = list(call["pad"])
    if not any(pad):
        return call.x
    value, mode = call.get("value"), call.get("mode", "constant")
    return call.emit("pad", call.x, pad=pad, mode=mode, value=0.0 if value is None else float(value))


def _cumulative_sum(call: Call) -> Signal:
    x = call.x
    axis = axis_of(call["dim"], x.shape)
    unbatched(x.shape[axis])
    if x.is_relevant:
        raise UntranslatableError("it sums values that carry relevance")
    return call.emit("cumsum", x, axis=axis)


def _roll(call: Call) -> Signal:
    x = call.x
    axes = [axis_of(axis, x.shape) for axis in call["dims"]]
    if not axes:
        raise UntranslatableError("it names no axes")
    for axis in axes:
        unbatched(x.shape[axis])
    return call.emit("roll", x, shifts=list(call["shifts"]), axes=axes)


def _pixel_shuffle(call: Call) -> Signal:
    x, factor = call.x, call["upscale_factor"]
    batch, channels, height, width = x.shape
    split = batch, fixed(channels) // factor**2, factor, factor, height, width
    x = reshaped(call, x, split)
    axes = [0, 1, 4, 2, 5, 3]
    x = call.emit("permute", x, shape=tuple(split[axis] for axis in axes), axes=axes)
    return reshaped(call, x, call.shape)


_ALIASES = (
    *("contiguous", "clone", "alias", "detach", "lift_fresh_copy"),
    *("alpha_dropout", "feature_alpha_dropout"),
)
"""Operators that return an argument as it is, when the network is evaluated."""

TRANSLATIONS: Mapping[str, Translation] = MappingProxyType(
    {
        **dict.fromkeys(_ALIASES, _alias),
        **dict.fromkeys(("to", "_to_copy", "type_as"), _cast),
        **dict.fromkeys(
            (
                "reshape",
                "view",
                "_unsafe_view",
                "flatten",
                "unflatten",
                "squeeze",
                "unsqueeze",
                "view_as",
                "reshape_as",
            ),
            _reshape,
        ),
        **dict.fromkeys(("transpose", "swapaxes", "swapdims"), _transpose),
        **dict.fromkeys(("t", "numpy_T", "mT", "matrix_H"), _matrix_transpose),
        **dict.fromkeys(("split", "split_with_sizes", "chunk", "tensor_split", "unsafe_chunk"), _split),
        **dict.fromkeys(("expand", "expand_as"), _expand),
        "dropout": _dropout,
        "feature_dropout": _feature_dropout,
        "permute": _permute,
        "movedim": _move_axes,
        "repeat": _repeat,
        "slice": _slice,
        "narrow": _narrow,
        "select": _select,
        "unbind": _unbind,
        "index": _index,
        "index_select": _index_select,
        "gather": _gather,
        "cat": _cat,
        "concat": _cat,
        "stack": _stack,
        "pad": _pad,
        "constant_pad_nd": _pad,
        "roll": _roll,
        "cumsum": _cumulative_sum,
        "pixel_shuffle": _pixel_shuffle,
    }
)
"""By the operator's name."""
