"""The forward pass of a compiled network, and what it keeps for the backward pass."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.lrp.engine.activations import Activations, Rows
from app.lrp.engine.layout import Layout
from app.lrp.engine.ops.affine import channels_last
from app.lrp.engine.steps import Network, Steps
from app.lrp.engine.wiring import Wiring


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """Values of a batch. Where all rows share a value, it may have one row."""

    wiring: Wiring
    layouts: Sequence[Layout]
    values: list[Tensor | None]
    """The network's input and the output of each node; ``None`` for those that are not read any more."""
    extras: list[Tensor | None]
    """What each node's forward function returned besides its output."""

    def until(self, index: int) -> "ForwardPass":
        """Return the part of it that ends before node ``index``."""
        return ForwardPass(self.wiring, self.layouts, self.values[: index + 1], self.extras[:index])

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

    def read_by(self, index: int, rows: Rows, *, masked: bool) -> Activations:
        """Return inputs and output of node ``index``.

        ``masked``: the output of the ReLU that follows takes the place of its own.
        """
        inputs = self.wiring.inputs[index]
        return Activations(
            rows,
            [self.layouts[value] for value in inputs],
            self.layouts[index + 1],
            [self.values[value] for value in inputs],
            self.values[(self.wiring.rectifiers[index] if masked else index) + 1],
            self.extras[index],
        )

    def free(self, index: int) -> None:
        """Free what no node before ``index`` reads on the way back, once that of node ``index`` is computed."""
        self.extras[index] = None
        if index not in self.wiring.rectified:
            self.values[index + 1] = None
        if index in self.wiring.rectifiers:
            self.values[self.wiring.rectifiers[index] + 1] = None

    def _read(self, value: int) -> Tensor:
        read = self.values[value]
        assert read is not None
        return read


def forward_pass(
    network: Network, inputs: Tensor, steps: Sequence[Steps], *, keeps_all: bool = False
) -> ForwardPass:
    """Run ``network`` for ``inputs`` (B, …), so that all of ``steps`` can be taken back.

    A layer whose output is masked in all of them is computed together with the ReLU that follows it. Values that
    no step reads are freed unless ``keeps_all``.
    """
    begun = ForwardPass(network.wiring, network.layouts(inputs.shape[1:]), [channels_last(inputs)], [])
    kept = range(len(begun.layouts)) if keeps_all else kept_values(network.wiring, steps)
    return resumed(network, begun, steps, {}, kept)


def resumed(
    network: Network,
    begun: ForwardPass,
    steps: Sequence[Steps],
    factors: Mapping[int, Tensor],
    kept: Collection[int],
) -> ForwardPass:
    """Run the nodes that ``begun`` lacks.

    ``factors`` (B, …) multiply the output of the node of that index. Values that are not ``kept`` are freed when
    their last user has run.
    """
    wiring, shape, dtype = begun.wiring, begun.shape, network.precision(begun.inputs.dtype)
    run = begun.copy()
    for index in range(len(run.extras), len(wiring.inputs)):
        rectified = bool(steps) and all(_is_rectified(wiring, index, chain) for chain in steps)
        y, extra = network.forward(index, rectified, shape, dtype)(*_aligned(run, index))
        run.values.append(channels_last(y * factors[index]) if index in factors else y)
        run.extras.append(extra)
        for value in wiring.inputs[index]:
            if value not in kept and wiring.users[value][-1] == index:
                run.values[value] = None
    return run


def kept_values(wiring: Wiring, steps: Sequence[Steps]) -> set[int]:
    """Return the values that the backward pass reads."""
    kept = {len(wiring.inputs)}
    for step, index in ((step, index) for chain in steps for index, step in enumerate(chain)):
        if step.operation.reads_inputs:
            kept.update(wiring.inputs[index])
        if step.operation.reads_output:
            kept.add((wiring.rectifiers[index] if step.masked else index) + 1)
    return kept


def _aligned(run: ForwardPass, index: int) -> list[Tensor]:
    """Return the inputs of a node, with as many rows as the one that has most."""
    inputs = run.wiring.inputs[index]
    read = [(run.values[value], run.layouts[value]) for value in inputs]
    if len(read) == 1:
        return [x for x, _ in read if x is not None]
    found = [(x, layout) for x, layout in read if x is not None]
    rows = max((layout.rows(x) for x, layout in found), default=1)
    return [layout.expand(x, rows) for x, layout in found]


def _is_rectified(wiring: Wiring, index: int, steps: Steps) -> bool:
    """Whether node ``index`` may be computed together with the ReLU that follows it, or is that ReLU."""
    below = wiring.inputs[index][0] - 1 if wiring.inputs[index] else -1
    return steps[index].masked or (wiring.rectifiers.get(below) == index and steps[below].masked)
