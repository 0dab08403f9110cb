"""Comparisons, masks and choices by them. In graphs, truth is the number 1 or 0."""

from collections.abc import Mapping
from types import MappingProxyType

import torch

from app.lrp.graph.aten.call import Call, Translation
from app.lrp.graph.aten.elementwise import operand
from app.lrp.graph.graph import COMPARISONS
from app.lrp.graph.values import Constant, Signal, UntranslatableError, Value


def _comparison(op: str) -> Translation:
    def translate(call: Call) -> Signal:
        first, second = call["self"], call["other"]
        dtype = first.dtype if isinstance(first, Signal | Constant) else second.dtype
        return call.emit(op, *(_compared(call, name, dtype) for name in ("self", "other")))

    return translate


def _compared(call: Call, name: str, dtype: torch.dtype) -> Value:
    value = call[name]
    return operand(call, name) if isinstance(value, Signal | Constant) else call.number(value, dtype)


def _not(call: Call) -> Signal:
    return negated(call, truth(call, call.x))


def negated(call: Call, x: Value) -> Signal:
    """Return 1 where ``x`` is 0, and 0 where it is 1."""
    return call.emit("sub", call.number(1, torch.int8), x, shape=x.shape)


def _and(call: Call) -> Signal:
    return call.emit("mul", *_both(call))


def _or(call: Call) -> Signal:
    return call.emit("maximum", *_both(call))


def _both(call: Call) -> tuple[Value, Value]:
    first, second = (operand(call, name) for name in ("self", "other"))
    return truth(call, first), truth(call, second)


def truth(call: Call, x: Value) -> Value:
    """Return a value as 1 or 0."""
    if x.dtype == torch.bool:
        return x
    if call.dtype != torch.bool:
        raise UntranslatableError("it changes the bits of integers")
    return call.emit("ne", x, call.number(0, x.dtype), shape=x.shape)


def _masked_fill(call: Call) -> Signal:
    return call.emit("where", operand(call, "mask"), operand(call, "value"), operand(call, "self"))


def _where(call: Call) -> Signal:
    return call.emit("where", *(operand(call, name) for name in ("condition", "self", "other")))


TRANSLATIONS: Mapping[str, Translation] = MappingProxyType(
    {
        **{op: _comparison(op) for op in COMPARISONS},
        **dict.fromkeys(("logical_not", "bitwise_not"), _not),
        **dict.fromkeys(("logical_and", "bitwise_and", "__and__"), _and),
        **dict.fromkeys(("logical_or", "bitwise_or", "__or__"), _or),
        "masked_fill": _masked_fill,
        "where": _where,
    }
)
"""By the operator's name."""
