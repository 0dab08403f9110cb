"""Activations, sums, differences, products and quotients."""

from collections.abc import Mapping
from types import MappingProxyType

from app.lrp.graph.aten.call import Call, Translation
from app.lrp.graph.aten.pooling import reduced_axes
from app.lrp.graph.graph import BATCH, has_symbol
from app.lrp.graph.values import Constant, Signal, UntranslatableError, Value


def _activation(op: str, **attributes: str) -> Translation:
    """Return the translation of a function of one input, with the schema's names of its attributes."""

    def translate(call: Call) -> Signal:
        values = {name: call[argument] for name, argument in attributes.items()}
        return call.emit(op, call.x, **values)

    return translate


def _elu(call: Call) -> Signal:
    if call["scale"] != 1 or call["input_scale"] != 1:
        raise UntranslatableError("its scales must be 1")
    return call.emit("elu", call.x, alpha=call["alpha"])


def _softplus(call: Call) -> Signal:
    if call["beta"] != 1:
        raise UntranslatableError("its beta must be 1")
    return call.emit("softplus", call.x)


def _hardtanh(call: Call) -> Signal:
    x, low, high = call.x, call["min_val"], call["max_val"]
    return call.emit("relu6", x) if (low, high) == (0, 6) else call.emit("clamp", x, min=low, max=high)


def _clamp(call: Call) -> Signal:
    low, high = (call.get(name) for name in ("min", "max"))
    if isinstance(low, Signal | Constant) or isinstance(high, Signal | Constant):
        raise UntranslatableError("its bounds must be numbers")
    return _clamped(call, low, high)


def _clamped(call: Call, low: float | None, high: float | None) -> Signal:
    x = call.x
    if call.dtype.is_floating_point and (low, high) == (0, None):
        return call.emit("relu", x)
    if call.dtype.is_floating_point and (low, high) == (0, 6):
        return call.emit("relu6", x)
    return call.emit("clamp", x, min=low, max=high)


def _sum(op: str) -> Translation:
    def translate(call: Call) -> Signal:
        first, second = operand(call, "self"), operand(call, "other")
        alpha = call.get("alpha", 1)
        if alpha != 1:
            second = call.emit("mul", second, call.number(alpha), shape=second.shape)
        return call.emit(op, first, second)

    return translate


def _reversed_difference(call: Call) -> Signal:
    if call["alpha"] != 1:
        raise UntranslatableError("its alpha must be 1")
    return call.emit("sub", operand(call, "other"), operand(call, "self"))


def _product(op: str) -> Translation:
    def translate(call: Call) -> Signal:
        if call.get("rounding_mode") is not None:
            raise UntranslatableError("it rounds")
        return call.emit(op, operand(call, "self"), operand(call, "other"))

    return translate


def operand(call: Call, name: str) -> Value:
    """Return an argument of an operation that broadcasts: a value, or a number as a constant.

    A constant that is the same for all rows of the batch has a size of 1 there.
    """
    value = call[name]
    if not isinstance(value, Signal | Constant):
        return call.number(value)
    if isinstance(value, Constant) and value.is_batched and value.tensor.dim() <= len(call.shape):
        axis = next(axis for axis, size in enumerate(value.shape) if has_symbol(size, BATCH))
        once = tuple(1 if index == axis else size for index, size in enumerate(value.shape))
        return Constant(value.tensor, once) if value.tensor.shape[axis] == 1 else value
    return value


def _parametric_relu(call: Call) -> Signal:
    return call.emit("prelu", call.x, weights={"weight": call.constant("weight")})


def _negative(call: Call) -> Signal:
    return call.emit("mul", call.x, call.number(-1))


def _power(call: Call) -> Signal:
    exponent = call["exponent"]
    if isinstance(exponent, Signal | Constant) or not isinstance(call["self"], Signal):
        raise UntranslatableError("its exponent must be a number")
    return call.emit("pow", call.x, exponent=exponent)


def _root(exponent: float) -> Translation:
    def translate(call: Call) -> Signal:
        return call.emit("pow", call.x, exponent=exponent)

    return translate


def _gated_linear_unit(call: Call) -> Signal:
    x = call.x
    axis = call["dim"] % len(x.shape)
    half = int(call.shape[axis])
    signal, gate = (
        call.emit("slice", x, axis=axis, start=start, stop=start + half, step=1) for start in (0, half)
    )
    return call.emit("mul", signal, call.emit("sigmoid", gate))


def _vector_norm(call: Call) -> Signal:
    x, order = call.x, call["ord"] if "ord" in call else call["p"]
    axes = reduced_axes(call["dim"], x.shape)
    return call.emit("vector_norm", x, ord=float(order), axes=axes, keepdim=call["keepdim"])


TRANSLATIONS: Mapping[str, Translation] = MappingProxyType(
    {
        **{
            op: _activation(op)
            for op in (
                "relu",
                "relu6",
                "silu",
                "mish",
                "sigmoid",
                "hardsigmoid",
                "hardswish",
                "tanh",
                "exp",
                "abs",
            )
        },
        "leaky_relu": _activation("leaky_relu", negative_slope="negative_slope"),
        "gelu": _activation("gelu", approximate="approximate"),
        "elu": _elu,
        "softplus": _softplus,
        "hardtanh": _hardtanh,
        "clamp": _clamp,
        "clamp_min": _clamp,
        "clamp_max": _clamp,
        "add": _sum("add"),
        "sub": _sum("sub"),
        "rsub": _reversed_difference,
        "mul": _product("mul"),
        "div": _product("div"),
        "maximum": _product("maximum"),
        "minimum": _product("minimum"),
        "neg": _negative,
        "prelu": _parametric_relu,
        "pow": _power,
        "sqrt": _root(0.5),
        "rsqrt": _root(-0.5),
        "reciprocal": _root(-1.0),
        "square": _root(2.0),
        "glu": _gated_linear_unit,
        "linalg_vector_norm": _vector_norm,
        "norm": _vector_norm,
    }
)
"""By the operator's name."""
