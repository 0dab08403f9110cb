"""LSTM and GRU: one node a layer."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from app.lrp.graph.aten.call import Call, Translation
from app.lrp.graph.aten.shapes import reshaped, selected, sliced
from app.lrp.graph.values import Constant, Signal, UntranslatableError, Value

_ROLES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _recurrent(op: str) -> Translation:
    def translate(call: Call) -> list[Value]:
        """Return the output, and the last states h_n of all layers: (layers · directions, B, H)."""
        if "batch_sizes" in call:
            raise UntranslatableError(
                "it runs a packed sequence; where torch.compiler.is_exporting(), run the plain one, and the mask "
                "is derived from the tokens"
            )
        _check(call)
        x, last = call.input("input"), []
        weights = _of_layers(call)
        for index, of_layer in enumerate(weights):
            shape = *x.shape[:-1], call.shape[-1]
            options = {"bidirectional": call["bidirectional"], "batch_first": call["batch_first"]}
            x = call.emit(op, x, shape=shape, weights=of_layer, **options)
            last += _last_states(call, x)
            if call["dropout"] and index < len(weights) - 1:
                x = call.emit("dropout", x, shape=shape, p=call["dropout"], channels=False)
        states = (len(last), *last[0].shape[1:])
        return [x, call.emit("cat", *last, shape=states, axis=0)]

    return translate


def _check(call: Call) -> None:
    if call["train"] and call["dropout"]:
        raise UntranslatableError("its dropout is active in evaluation too")
    states = call["hx"] if isinstance(call["hx"], list | tuple) else [call["hx"]]
    if not all(isinstance(state, Constant) and not state.tensor.any() for state in states):
        raise UntranslatableError("its first state must be 0")


def _of_layers(call: Call) -> list[dict[str, Constant]]:
    """Return the weights of each layer by role."""
    roles = _ROLES if call["has_biases"] else _ROLES[:2]
    directions = ("", "_reverse") if call["bidirectional"] else ("",)
    names = [f"{role}{direction}" for direction in directions for role in roles]
    params: list[Any] = list(call["params"])
    if len(params) != call["num_layers"] * len(names):
        raise UntranslatableError("its proj_size must be 0")
    if not all(isinstance(param, Constant) for param in params):
        raise UntranslatableError("its weights must not depend on the network's input")
    groups = (params[first : first + len(names)] for first in range(0, len(params), len(names)))
    return [dict(zip(names, group, strict=True)) for group in groups]


def _last_states(call: Call, output: Signal) -> list[Signal]:
    """Return the last state of each direction, (1, B, H): the backward one's is at the first step."""
    time = 1 if call["batch_first"] else 0
    parts = 2 if call["bidirectional"] else 1
    *_, width = output.shape
    assert isinstance(width, int)
    states = []
    for part, index in zip(range(parts), (-1, 0), strict=False):
        end = selected(call, output, time, index)  # (B, parts · H)
        if parts > 1:
            half = width // 2
            end = sliced(call, end, 1, part * half, (part + 1) * half)
        states.append(reshaped(call, end, (1, *end.shape)))
    return states


TRANSLATIONS: Mapping[str, Translation] = MappingProxyType(
    {"lstm": _recurrent("lstm"), "gru": _recurrent("gru")}
)
"""By the operator's name."""
