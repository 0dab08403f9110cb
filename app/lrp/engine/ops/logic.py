"""Comparisons, choices by them, and larger or smaller values: relevance follows the value that is chosen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.lrp.engine.operation import AtZero, Compile, OperationContext, Redistribution, Sign, Values


@dataclass(frozen=True, eq=False)
class Static:
    """An operation whose inputs get no relevance."""

    function: Callable[..., Tensor]
    count: int
    """Number of inputs."""
    sign: Sign = Sign.NONNEGATIVE
    at_zero = AtZero.NONE
    conserves = False
    reads_inputs = False
    reads_output = False
    receivers = ()
    is_cheap = False

    def forward(self, *inputs: Tensor) -> tuple[Tensor, None]:
        """See `app.lrp.engine.operation.Operation`."""
        return self.function(*inputs), None

    def relevance(self, R: Tensor, values: Values) -> Redistribution:  # noqa: ARG002
        """See `app.lrp.engine.operation.Backward`."""
        return Redistribution((None,) * self.count, R)


@dataclass(frozen=True, eq=False)
class Choice:
    """The second input where the first is not 0, else the third."""

    needed: tuple[bool, ...]
    sign = Sign.AS_INPUTS
    at_zero = AtZero.AS_OUTPUT
    reads_inputs = True
    reads_output = False
    is_cheap = False

    @property
    def conserves(self) -> bool:
        """See `app.lrp.engine.operation.Backward`: a constant absorbs its relevance."""
        return all(self.needed[1:])

    @property
    def receivers(self) -> Sequence[int]:
        """See `app.lrp.engine.operation.Backward`."""
        return [index for index in (1, 2) if self.needed[index]]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, None]:
        """See `app.lrp.engine.operation.Operation`."""
        condition, first, second = inputs
        return torch.where(condition != 0, first, second), None

    def relevance(self, R: Tensor, values: Values) -> Redistribution:
        """See `app.lrp.engine.operation.Backward`."""
        chosen = values.inputs[0] != 0
        first, second, absorbed = _chosen(R, chosen, values, (1, 2), self.needed)
        return Redistribution((None, first, second), absorbed)


@dataclass(frozen=True, eq=False)
class Extremum:
    """The larger or the smaller of two inputs, to which all relevance goes; the first one if they are equal."""

    function: Callable[[Tensor, Tensor], Tensor]
    is_first: Callable[[Tensor, Tensor], Tensor]
    """Returns where the first input is chosen."""
    needed: tuple[bool, ...]
    sign = Sign.AS_INPUTS
    at_zero = AtZero.AS_OUTPUT
    reads_inputs = True
    reads_output = False
    is_cheap = False

    @property
    def conserves(self) -> bool:
        """See `app.lrp.engine.operation.Backward`: a constant absorbs its relevance."""
        return all(self.needed)

    @property
    def receivers(self) -> Sequence[int]:
        """See `app.lrp.engine.operation.Backward`."""
        return [index for index, is_needed in enumerate(self.needed) if is_needed]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, None]:
        """See `app.lrp.engine.operation.Operation`."""
        first, second = inputs
        return self.function(first, second), None

    def relevance(self, R: Tensor, values: Values) -> Redistribution:
        """See `app.lrp.engine.operation.Backward`."""
        chosen = self.is_first(*values.inputs)
        first, second, absorbed = _chosen(R, chosen, values, (0, 1), self.needed)
        return Redistribution((first, second), absorbed)


def _chosen(
    R: Tensor, is_first: Tensor, values: Values, indices: tuple[int, int], needed: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the relevance of two inputs, that of the first where ``is_first``, and what constants absorb."""
    parts = torch.where(is_first, R, 0), torch.where(is_first, 0, R)
    first, second = (
        part.sum_to_size(values.input_shape(index)) if needed[index] else None
        for index, part in zip(indices, parts, strict=True)
    )
    absorbed = [part for index, part in zip(indices, parts, strict=True) if not needed[index]]
    return first, second, absorbed[0] if absorbed else None


def _comparison(function: Callable[[Tensor, Tensor], Tensor]) -> Compile:
    def compile_(context: OperationContext) -> Static:
        return Static(lambda first, second: function(first, second).to(context.dtype), 2)

    return compile_


def _cumulative_sum(context: OperationContext) -> Static:
    axis = context.node.attributes["axis"]
    return Static(lambda x: x.cumsum(axis), 1, Sign.AS_INPUTS)


OPERATIONS: Mapping[str, Compile] = {
    **{
        function.__name__: _comparison(function)
        for function in (torch.ge, torch.gt, torch.le, torch.lt, torch.eq, torch.ne)
    },
    "where": lambda context: Choice(context.needed),
    "maximum": lambda context: Extremum(torch.maximum, torch.ge, context.needed),
    "minimum": lambda context: Extremum(torch.minimum, torch.le, context.needed),
    "cumsum": _cumulative_sum,
}
