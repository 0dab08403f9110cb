"""Operations that move, repeat or drop values: relevance follows the values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from app.lrp.engine.operation import AtZero, Compile, OperationContext, Redistribution, Sign, Values


@dataclass(frozen=True, eq=False)
class Movement:
    """An operation whose outputs are each one of its inputs. An input gets the relevance of all its copies."""

    function: Callable[[Tensor], Tensor]
    adjoint: Callable[[Tensor, torch.Size], Tensor]
    """Relevance of the output, and the shape of the input -> relevance of the input."""
    sign: Sign = Sign.AS_INPUTS
    absorbed: Callable[[Tensor, torch.Size], Tensor] | None = None
    """The same -> what constants absorb, see `Redistribution.absorbed`; ``None`` where there are none."""
    at_zero = AtZero.AS_OUTPUT
    reads_inputs = False
    reads_output = False
    receivers = (0,)
    is_cheap = True

    def forward(self, *inputs: Tensor) -> tuple[Tensor, None]:
        """See `app.lrp.engine.operation.Operation`."""
        (x,) = inputs
        return self.function(x), None

    @property
    def conserves(self) -> bool:
        """See `app.lrp.engine.operation.Backward`."""
        return self.absorbed is None

    def relevance(self, R: Tensor, values: Values) -> Redistribution:
        """See `app.lrp.engine.operation.Backward`."""
        shape = values.input_shape(0)
        absorbed = None if self.absorbed is None else self.absorbed(R, shape)
        return Redistribution((self.adjoint(R, shape),), absorbed)


@dataclass(frozen=True, eq=False)
class Concatenation:
    """Concatenation of inputs that are broadcast along the other axes: constants have one row for all."""

    axis: int
    needed: tuple[bool, ...]
    sign = Sign.AS_INPUTS
    at_zero = AtZero.AS_OUTPUT
    reads_inputs = False
    reads_output = False
    is_cheap = True

    @property
    def conserves(self) -> bool:
        """See `app.lrp.engine.operation.Backward`."""
        return all(self.needed)

    @property
    def receivers(self) -> Sequence[int]:
        """See `app.lrp.engine.operation.Backward`."""
        return [index for index, is_needed in enumerate(self.needed) if is_needed]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, None]:
        """See `app.lrp.engine.operation.Operation`."""
        return torch.cat(_broadcast(inputs, self.axis), self.axis), None

    def relevance(self, R: Tensor, values: Values) -> Redistribution:
        """See `app.lrp.engine.operation.Backward`."""
        shapes = [values.input_shape(index) for index in range(len(self.needed))]
        parts = R.split([shape[self.axis] for shape in shapes], self.axis)
        relevances = tuple(
            part.sum_to_size(shape) if is_needed else None
            for part, shape, is_needed in zip(parts, shapes, self.needed, strict=True)
        )
        of_constants = [
            part.sum(self.axis, keepdim=True)
            for part, is_needed in zip(parts, self.needed, strict=True)
            if not is_needed
        ]
        return Redistribution(relevances, reduce(torch.add, of_constants) if of_constants else None)


@dataclass(frozen=True, eq=False)
class Gather:
    """Values at indices along an axis; the indices are constants that are broadcast along the others."""

    axis: int
    sign = Sign.AS_INPUTS
    at_zero = AtZero.AS_OUTPUT
    conserves = True
    reads_inputs = True
    reads_output = False
    receivers = (0,)
    is_cheap = True

    def forward(self, *inputs: Tensor) -> tuple[Tensor, None]:
        """See `app.lrp.engine.operation.Operation`."""
        x, index = inputs
        return x.gather(self.axis, self._broadcast(index, x.shape)), None

    def relevance(self, R: Tensor, values: Values) -> Redistribution:
        """See `app.lrp.engine.operation.Backward`."""
        shape, index = values.input_shape(0), values.inputs[1]
        relevance = _zeros(R, shape).scatter_add_(self.axis, self._broadcast(index, shape), R)
        return Redistribution((relevance, None))

    def _broadcast(self, index: Tensor, shape: torch.Size) -> Tensor:
        sizes = list(shape)
        sizes[self.axis] = index.shape[self.axis]
        return index.long().expand(sizes)


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor that does not depend on the network's input."""

    value: Tensor
    sign: Sign
    at_zero = AtZero.NONE
    conserves = False
    reads_inputs = False
    reads_output = False
    receivers = ()
    is_cheap = False

    def forward(self, *inputs: Tensor) -> tuple[Tensor, None]:  # noqa: ARG002
        """See `app.lrp.engine.operation.Operation`."""
        return self.value, None

    def relevance(self, R: Tensor, values: Values) -> Redistribution:  # noqa: ARG002
        """See `app.lrp.engine.operation.Backward`."""
        return Redistribution(())


def _broadcast(tensors: Sequence[Tensor], axis: int) -> list[Tensor]:
    """Return ``tensors`` with the same sizes along all axes but ``axis``."""
    axis %= tensors[0].dim()
    shapes = [(*tensor.shape[:axis], 1, *tensor.shape[axis + 1 :]) for tensor in tensors]
    common = torch.broadcast_shapes(*shapes)
    return [tensor.expand(*common[:axis], -1, *common[axis + 1 :]) for tensor in tensors]


def _zeros(R: Tensor, shape: torch.Size) -> Tensor:
    """Return zeros in the memory format of ``R``."""
    is_channels_last = R.dim() == len(shape) == 4 and R.stride(1) == 1
    layout = torch.channels_last if is_channels_last else torch.contiguous_format
    return torch.empty(shape, dtype=R.dtype, device=R.device, memory_format=layout).zero_()


def _reshape(context: OperationContext) -> Movement:
    sizes = [size if isinstance(size, int) else -1 for size in context.node.attributes["shape"]]
    return Movement(lambda x: x.reshape(sizes), lambda R, shape: R.reshape(shape))


def _permute(context: OperationContext) -> Movement:
    axes = list(context.node.attributes["axes"])
    inverse = sorted(range(len(axes)), key=lambda axis: axes[axis] % len(axes))
    return Movement(lambda x: x.permute(axes), lambda R, _: R.permute(inverse))


def _expand(context: OperationContext) -> Movement:
    given = context.node.attributes["shape"]
    sizes = [size if isinstance(size, int) else -1 for size in given]  # -1 keeps a constant's only row

    def expand(x: Tensor) -> Tensor:
        added = len(sizes) - x.dim()
        return x.expand([1 if size == -1 else size for size in sizes[:added]] + sizes[added:])

    return Movement(expand, lambda R, shape: R.sum_to_size(shape))


def _slice(context: OperationContext) -> Movement:
    attributes = context.node.attributes
    axis: int = attributes["axis"]
    window = slice(attributes["start"], attributes["stop"], attributes["step"])

    def adjoint(R: Tensor, shape: torch.Size) -> Tensor:
        relevance = _zeros(R, shape)
        _sliced(relevance, axis, window).copy_(R)
        return relevance

    return Movement(lambda x: _sliced(x, axis, window), adjoint)


def _sliced(x: Tensor, axis: int, window: slice) -> Tensor:
    return x[(*(slice(None) for _ in range(axis % x.dim())), window)]


def _select(context: OperationContext) -> Movement:
    axis, index = context.node.attributes["axis"], context.node.attributes["index"]

    def adjoint(R: Tensor, shape: torch.Size) -> Tensor:
        relevance = _zeros(R, shape)
        relevance.select(axis, index).copy_(R)
        return relevance

    return Movement(lambda x: x.select(axis, index), adjoint)


def _index_select(context: OperationContext) -> Movement:
    axis, index = context.node.attributes["axis"], context.weights["index"].long()
    return Movement(
        lambda x: x.index_select(axis, index), lambda R, shape: _zeros(R, shape).index_add_(axis, index, R)
    )


def _roll(context: OperationContext) -> Movement:
    shifts, axes = context.node.attributes["shifts"], context.node.attributes["axes"]
    back = [-shift for shift in shifts]
    return Movement(lambda x: x.roll(shifts, axes), lambda R, _: R.roll(back, axes))


def _pad(context: OperationContext) -> Movement:
    attributes = context.node.attributes
    pad, mode, value = attributes["pad"], attributes["mode"], attributes["value"] or 0.0
    if mode != "constant":
        return Movement(lambda x: F.pad(x, pad, mode), lambda R, shape: _unpadded(R, shape, pad, mode))
    cropped = [-width for width in pad]
    sign = Sign.ANY if value < 0 else Sign.AS_INPUTS
    return Movement(
        lambda x: F.pad(x, pad, value=value),
        lambda R, _: F.pad(R, cropped),
        sign,
        lambda R, shape: R * F.pad(R.new_zeros(shape), pad, value=1.0),  # what arrives at the padding
    )


def _unpadded(R: Tensor, shape: torch.Size, pad: Sequence[int], mode: str) -> Tensor:
    """Return the adjoint of padding with values of the input, one axis after the other."""
    for i in range(len(pad) // 2):  # widths before and after each axis, from the last axis on
        axis = len(shape) - 1 - i
        positions = torch.arange(shape[axis], dtype=torch.float32, device=R.device).view(1, 1, -1)
        origin = F.pad(positions, pad[2 * i : 2 * i + 2], mode).view(-1).long()
        size = torch.Size((*R.shape[:axis], shape[axis], *R.shape[axis + 1 :]))
        R = _zeros(R, size).index_add_(axis, origin, R)
    return R


def _concatenation(context: OperationContext) -> Concatenation:
    return Concatenation(context.node.attributes["axis"], context.needed)


def _constant(context: OperationContext) -> Constant:
    value = context.weights["value"]
    return Constant(value, Sign.NONNEGATIVE if bool((value >= 0).all()) else Sign.ANY)


OPERATIONS: Mapping[str, Compile] = {
    "reshape": _reshape,
    "permute": _permute,
    "expand": _expand,
    "slice": _slice,
    "select": _select,
    "index_select": _index_select,
    "gather": lambda context: Gather(context.node.attributes["axis"]),
    "roll": _roll,
    "pad": _pad,
    "cat": _concatenation,
    "constant": _constant,
}
