"""Operators for LSTM and GRU that torch.export keeps whole, for any number of steps.

PyTorch's own are decomposed into their steps to find the shape of their output, which fixes the number of steps.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.library import Library
from torch.overrides import TorchFunctionMode

_NAMESPACE = "lrpserve"
_SCHEMAS: Mapping[str, str] = {
    "lstm": "lstm(Tensor input, Tensor[] hx, Tensor[] params, bool has_biases, int num_layers, float dropout, "
    "bool train, bool bidirectional, bool batch_first) -> (Tensor, Tensor, Tensor)",
    "gru": "gru(Tensor input, Tensor hx, Tensor[] params, bool has_biases, int num_layers, float dropout, "
    "bool train, bool bidirectional, bool batch_first) -> (Tensor, Tensor)",
}
"""Those of ATen's operators ``lstm.input`` and ``gru.input``."""


@contextmanager
def recurrent_operators() -> Iterator[None]:
    """Within it, ``torch.export`` records calls of ``torch.lstm`` and ``torch.gru`` as our operators."""
    with warnings.catch_warnings(), _Recorded(_operators()):
        # The modules put their parameters, which torch.export replaces, into a list.
        warnings.filterwarnings("ignore", r"The tensor attributes? .*_flat_weights", UserWarning)
        yield


class _Recorded(TorchFunctionMode):
    def __init__(self, operators: Mapping[Any, Callable[..., Any]]) -> None:
        super().__init__()
        self._operators = operators

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        operator = self._operators.get(func)
        if operator is None or isinstance(args[3], list):  # the weights of a call with packed sequences
            return func(*args, **(kwargs or {}))
        return operator(*args)


def _operators() -> Mapping[Any, Callable[..., Any]]:
    """Return the operators by PyTorch's functions."""
    _register()
    registered = torch.ops.lrpserve
    return {torch.lstm: registered.lstm.default, torch.gru: registered.gru.default}


@cache
def _register() -> Library:
    """Register the operators, for as long as the result exists."""
    library = Library(_NAMESPACE, "DEF")
    for name, schema in _SCHEMAS.items():
        library.define(schema)
        torch.library.register_fake(f"{_NAMESPACE}::{name}", _shapes, lib=library)
    return library


def _shapes(x: Tensor, hx: Tensor | list[Tensor], *options: Any) -> tuple[Tensor, ...]:
    """Return empty outputs and last states: (…, in) -> (…, directions · H)."""
    states, bidirectional = [hx] if isinstance(hx, Tensor) else hx, options[5]
    width = states[0].shape[-1] * (2 if bidirectional else 1)
    return x.new_empty((*x.shape[:-1], width)), *(torch.empty_like(state) for state in states)
