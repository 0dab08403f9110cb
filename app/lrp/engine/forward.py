"""The forward pass of a compiled network, and what it keeps for the backward pass.

An operation declares what of its values it reads on the way back, and nothing else is kept. Of these, values that
are cheap to compute, such as those of activations and norms, are computed again from what is kept anyway: that
of GELU between two dense layers is as large as any in a transformer, and takes a hundredth of their time.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.lrp.engine.activations import Activations, Rows
from app.lrp.engine.layout import Layout
from app.lrp.engine.ops.affine import channels_last
from app.lrp.engine.steps import Forward, Network, RelevanceStep, Steps
from app.lrp.engine.wiring import Wiring

MAX_RECOMPUTED = 4
"""Operations in a row that are run again to compute a value, such as a norm, a permutation and a reshape."""


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """Values of a batch. Where all rows share a value, it may have one row."""

    wiring: Wiring
    layouts: Sequence[Layout]
    functions: Sequence[Forward]
    """Of all nodes."""
    values: list[Tensor | None]
    """The network's input and the output of each node; ``None`` for those that are not kept (any more)."""
    extras: list[Tensor | None]
    """What each node's forward function returned besides its output."""

    def until(self, index: int) -> "ForwardPass":
        """Return the part of it that ends before node ``index``."""
        return replace(self, values=self.values[: index + 1], extras=self.extras[:index])

    def copy(self) -> "ForwardPass":
        """Return one that may be consumed; memory is shared."""
        return self.until(len(self.extras))

    @property
    def inputs(self) -> Tensor:
        """The network's input, (B, …)."""
        return self._read(0)

    @property
    def logits(self) -> Tensor:
        """(B, C)"""
        return self._read(-1)

    @property
    def shape(self) -> torch.Size:
        """Shape of an input, without the batch axis."""
        return self.layouts[0].row_shape

    def read_by(self, index: int, step: RelevanceStep, rows: Rows) -> Activations:
        """Return what node ``index`` reads under its rule."""
        inputs, operation = self.wiring.inputs[index], step.operation
        return Activations(
            rows,
            [self.layouts[value] for value in inputs],
            self.layouts[index + 1],
            [self._restored(value) if operation.reads_inputs else None for value in inputs],
            self._restored(_output(self.wiring, index, step)) if operation.reads_output else None,
            self.extras[index],
        )

    def free(self, index: int) -> None:
        """Free what no node before ``index`` reads on the way back, once that of node ``index`` is computed."""
        self.extras[index] = None
        if index not in self.wiring.rectified:
            self.values[index + 1] = None
        if index in self.wiring.rectifiers:
            self.values[self.wiring.rectifiers[index] + 1] = None

    def computed(self, index: int) -> tuple[Tensor, Tensor | None]:
        """Return what the forward function of node ``index`` returns, of inputs with the same number of rows."""
        inputs = self.wiring.inputs[index]
        if len(inputs) == 1:
            return self.functions[index](self._restored(inputs[0]))
        read = [(self._restored(value), self.layouts[value]) for value in inputs]
        rows = max((layout.rows(x) for x, layout in read), default=1)
        return self.functions[index](*(layout.expand(x, rows) for x, layout in read))

    def _restored(self, value: int) -> Tensor:
        """Return a value, which is computed again if it is not kept."""
        if value > 0 and self.values[value] is None:
            self.values[value], _ = self.computed(value - 1)
        return self._read(value)

    def _read(self, value: int) -> Tensor:
        read = self.values[value]
        assert read is not None, "freed: no operation says that it reads this"
        return read


def forward_functions(network: Network, inputs: Tensor, steps: Sequence[Steps]) -> Sequence[Forward]:
    """Return the functions of all nodes for inputs like these, (B, …).

    A layer whose output is masked in all of ``steps`` is computed together with the ReLU that follows it.
    """
    wiring, shape, dtype = network.wiring, inputs.shape[1:], network.precision(inputs.dtype)
    return [
        network.forward(
            index, bool(steps) and all(_is_rectified(wiring, index, chain) for chain in steps), shape, dtype
        )
        for index in range(len(wiring.inputs))
    ]


def forward_pass(
    network: Network, inputs: Tensor, steps: Sequence[Steps], *, keeps_all: bool = False
) -> ForwardPass:
    """Run ``network`` for ``inputs`` (B, …), so that all of ``steps`` can be taken back.

    Values are freed, unless ``keeps_all``, if no step reads them or they are computed again.
    """
    # All weights are prepared before there are values, so that they do not lie between these in memory.
    functions = forward_functions(network, inputs, steps)
    return run_forward(network, functions, inputs, steps, keeps_all=keeps_all)


def run_forward(
    network: Network,
    functions: Sequence[Forward],
    inputs: Tensor,
    steps: Sequence[Steps],
    *,
    keeps_all: bool = False,
) -> ForwardPass:
    """Do what `forward_pass` does, with the ``functions`` of all nodes."""
    wiring = network.wiring
    begun = ForwardPass(wiring, network.layouts(inputs.shape[1:]), functions, [channels_last(inputs)], [])
    kept = range(len(begun.layouts)) if keeps_all else kept_values(wiring, steps)
    return resumed(begun, {}, kept)


def resumed(begun: ForwardPass, factors: Mapping[int, Tensor], kept: Collection[int]) -> ForwardPass:
    """Run the nodes that ``begun`` lacks.

    ``factors`` (B, …) multiply the output of the node of that index. Values that are not ``kept`` are freed when
    their last user has run.
    """
    wiring, run = begun.wiring, begun.copy()
    for index in range(len(run.extras), len(wiring.inputs)):
        y, extra = run.computed(index)
        run.values.append(channels_last(y * factors[index]) if index in factors else y)
        run.extras.append(extra)
        for value in wiring.inputs[index]:
            if value not in kept and wiring.users[value][-1] == index:
                run.values[value] = None
    return run


def kept_values(wiring: Wiring, steps: Sequence[Steps]) -> set[int]:
    """Return the values that are kept for the backward pass.

    They are those that it reads and does not compute again, and constants, which are in memory anyway.
    """
    read = set().union(*(_values_read(wiring, chain) for chain in steps), {len(wiring.inputs)})
    kept: set[int] = set()
    lengths: list[float] = []  # how many operations compute each value from what is kept
    for value in range(len(wiring.users)):
        length = _length(wiring, steps, value, lengths)
        if length == 0 or (value in read and length > MAX_RECOMPUTED):
            kept.add(value)
            length = 0
        lengths.append(length)
    return kept


def _length(wiring: Wiring, steps: Sequence[Steps], value: int, lengths: Sequence[float]) -> float:
    """Return how many operations in a row compute a value again; infinity if it is not to be."""
    if value == 0:
        return math.inf
    inputs = wiring.inputs[value - 1]
    if not inputs:
        return 0
    is_cheap = all(chain[value - 1].operation.is_cheap for chain in steps)
    return 1 + max(lengths[read] for read in inputs) if is_cheap else math.inf


def _values_read(wiring: Wiring, steps: Steps) -> set[int]:
    """Return the values that nodes which relevance arrives at read."""
    reached, read = {len(wiring.inputs)}, set[int]()
    for index, inputs in reversed(list(enumerate(wiring.inputs))):
        step = steps[index]
        if index + 1 not in reached:
            continue
        reached.update(inputs[receiver] for receiver in step.operation.receivers)
        if step.operation.reads_inputs:
            read.update(inputs)
        if step.operation.reads_output:
            read.add(_output(wiring, index, step))
    return read


def _output(wiring: Wiring, index: int, step: RelevanceStep) -> int:
    """Return the output of a node, or that of the ReLU that follows and takes its place."""
    return (wiring.rectifiers[index] if step.masked else index) + 1


def _is_rectified(wiring: Wiring, index: int, steps: Steps) -> bool:
    """Whether node ``index`` may be computed together with the ReLU that follows it, or is that ReLU."""
    below = wiring.inputs[index][0] - 1 if wiring.inputs[index] else -1
    return steps[index].masked or (wiring.rectifiers.get(below) == index and steps[below].masked)
