"""The backward pass of a compiled network, for any number of explanations of one forward pass.

Explanations stay together in one batch until their steps differ:

    inputs ──conv──relu──pool──conv──relu──dense──relu──dense── logits
      ♭ ◄──────────────┬─────── z⁺ ◄─┬──────────── ε ◄───────── cat, dog, cat
      □ ◄──────────────┴─────── γ  ◄─┘

A value that several nodes read gets relevance from each of them, which is added.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

from torch import Tensor

from app.lrp.engine.activations import Rows
from app.lrp.engine.forward import ForwardPass
from app.lrp.engine.layout import Layout
from app.lrp.engine.steps import RelevanceStep, Steps

Amount = tuple[int, Tensor]
"""Index of the first of consecutive explanations, and a number for each of them, (m,)."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Relevance of a value for consecutive explanations."""

    start: int
    stop: int
    R: Tensor
    """Its rows are those of the explanations."""
    sums: Tensor
    """(stop − start,), total relevance of each explanation."""

    def part(self, start: int, stop: int, layout: Layout) -> "Piece":
        """Return that of some of the explanations."""
        if (start, stop) == (self.start, self.stop):
            return self
        offset, count = start - self.start, stop - start
        return Piece(start, stop, layout.narrow(self.R, offset, count), self.sums.narrow(0, offset, count))

    def plus(self, other: "Piece") -> "Piece":
        """Return the sum with that of the same explanations."""
        return Piece(self.start, self.stop, self.R + other.R, self.sums + other.sums)


@dataclass(frozen=True, eq=False)
class LayerRelevance:
    """Relevance at the input of one layer."""

    name: str | None
    """``None``: of the network's input."""
    layout: Layout
    pieces: Sequence[Piece]
    """That of the input `Wiring.first`. Explanations without relevance may be missing."""
    sums: Tensor
    """(n,), total relevance of each explanation at all inputs of the layer."""
    absorbed: Tensor
    """(n,), what the layer's biases, constants and stabilizers absorb, see `Redistribution.absorbed`."""

    def maps(self) -> Iterator[tuple[int, Tensor]]:
        """Return relevance of consecutive explanations, (m, …), and the index of the first of them."""
        reached = 0
        for piece in self.pieces:
            if piece.start > reached:
                yield reached, self._zeros(piece.start - reached)
            yield piece.start, self.layout.by_row(piece.R)
            reached = piece.stop
        if reached < len(self.sums):
            yield reached, self._zeros(len(self.sums) - reached)

    def _zeros(self, rows: int) -> Tensor:
        return self.layout.by_row(self.sums.new_zeros(self.layout.size(rows)))


def backward_pass(
    forward: ForwardPass, output_relevance: Tensor, rows: Sequence[int], steps: Sequence[Steps]
) -> Iterator[LayerRelevance]:
    """Redistribute ``output_relevance`` (n, C) from the last layer to the first, then to the network's input.

    Explanation ``m`` is of the input in row ``rows[m]`` and takes ``steps[m]``. Explanations with the same steps
    must be neighbours, see `sorted_by_steps`. ``forward`` is consumed: its values are freed when they have been
    read.
    """
    wiring, layouts, cuts = forward.wiring, forward.layouts, _cuts(steps)
    pending: dict[int, list[Piece]] = {value: [] for value in range(len(layouts))}
    pending[len(layouts) - 1] = [Piece(0, len(rows), output_relevance, output_relevance.sum(1))]
    nothing = output_relevance.new_zeros(len(rows))  # (n,)
    for index in reversed(range(len(wiring.inputs))):
        arrived = _gathered(pending.pop(index + 1), _parts(cuts, index, len(rows)), layouts[index + 1])
        found = [propagate(forward, index, piece, rows, steps[piece.start][index]) for piece in arrived]
        to_inputs = (inputs for inputs, _ in found)
        pieces = [[one for one in of_input if one is not None] for of_input in zip(*to_inputs, strict=True)]
        for value, of_input in zip(wiring.inputs[index], pieces, strict=False):
            pending[value] += of_input
        forward.free(index)
        if wiring.is_layer[index]:
            first = wiring.first[index]
            yield LayerRelevance(
                wiring.names[index],
                layouts[wiring.inputs[index][first]],
                pieces[first] if pieces else [],
                _total([(one.start, one.sums) for one in itertools.chain(*pieces)], nothing),
                _total([amount for _, amount in found if amount is not None], nothing),
            )
    at_input = _gathered(pending[0], _parts(cuts, 0, len(rows)), layouts[0])
    total = _total([(one.start, one.sums) for one in at_input], nothing)
    yield LayerRelevance(None, layouts[0], at_input, total, nothing)


def propagate(
    forward: ForwardPass, index: int, piece: Piece, rows: Sequence[int], step: RelevanceStep
) -> tuple[tuple[Piece | None, ...], Amount | None]:
    """Redistribute the relevance of some explanations from the output of node ``index`` to its inputs.

    Also return what the node absorbs; ``None``: nothing.
    """
    values = forward.read_by(index, step, Rows(rows[piece.start : piece.stop]))
    found = step.operation.relevance(piece.R, values)
    conserved = step.operation.conserves and sum(R is not None for R in found.inputs) == 1
    to_inputs = tuple(
        None if R is None else Piece(piece.start, piece.stop, R, piece.sums if conserved else layout.sums(R))
        for R, layout in zip(found.inputs, values.input_layouts, strict=True)
    )
    absorbed = None if found.absorbed is None else values.output_layout.sums(found.absorbed)
    return to_inputs, None if absorbed is None else (piece.start, absorbed)


def sorted_by_steps(steps: Sequence[Steps]) -> list[int]:
    """Return indices of ``steps`` such that those that share more of the last steps are closer together."""
    numbers: dict[RelevanceStep, int] = {}  # in the order of their appearance
    paths = {
        chain: [numbers.setdefault(step, len(numbers)) for step in reversed(chain)]
        for chain in dict.fromkeys(steps)
    }
    return sorted(range(len(steps)), key=lambda i: paths[steps[i]])


def _cuts(steps: Sequence[Steps]) -> list[tuple[int, int]]:
    """Return where neighbours differ: the second one's index, and the last node at which they do."""
    return [
        (second, max((i for i, (a, b) in enumerate(zip(*pair, strict=True)) if a is not b), default=-1))
        for second, pair in enumerate(itertools.pairwise(steps), start=1)
        if pair[0] is not pair[1]
    ]


def _parts(cuts: Sequence[tuple[int, int]], index: int, count: int) -> list[tuple[int, int]]:
    """Return start and stop of explanations whose steps agree from node ``index`` on."""
    edges = [0, *(position for position, last in cuts if last >= index), count]
    return list(itertools.pairwise(edges))


def _gathered(pieces: Sequence[Piece], parts: Sequence[tuple[int, int]], layout: Layout) -> list[Piece]:
    """Return the sum of ``pieces`` for each of ``parts``, each of which lies within one of each node's pieces."""
    found = []
    for start, stop in parts:
        own = [p.part(start, stop, layout) for p in pieces if p.start <= start and stop <= p.stop]
        if own:
            found.append(reduce(Piece.plus, own))
    return found


def _total(amounts: Sequence[Amount], nothing: Tensor) -> Tensor:
    """Return the sum for each explanation, (n,), which is ``nothing`` where there are no amounts."""
    if not amounts:
        return nothing
    if len(amounts) == 1 and amounts[0][1].shape == nothing.shape:
        return amounts[0][1]
    total = nothing.clone()
    for start, amount in amounts:
        total[start : start + len(amount)] += amount
    return total
