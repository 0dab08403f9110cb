"""Execution of a compiled network: a forward pass and, for any number of explanations, a backward pass.

Explanations stay together in one batch until their steps differ:

    inputs ──conv──relu──pool──conv──relu──dense──relu──dense── logits
      ♭ ◄──────────────┬─────── z⁺ ◄─┬──────────── ε ◄───────── cat, dog, cat
      □ ◄──────────────┴─────── γ  ◄─┘
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.lrp.engine.activations import Activations, Rows
from app.lrp.engine.ops.affine import channels_last
from app.lrp.engine.steps import Network, RelevanceStep, Steps


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """Activations of a batch. Where all rows share the activations of a layer, they may be (1, …)."""

    activations: list[Tensor]
    """The input of each layer, (B, …), and the logits (B, C)."""
    extras: list[Tensor | None]
    """What each layer's forward function returned besides its output."""

    def until(self, index: int) -> "ForwardPass":
        """Return the part of it that ends at the input of layer ``index``."""
        return ForwardPass(self.activations[: index + 1], self.extras[:index])

    @property
    def logits(self) -> Tensor:
        """(B, C)"""
        return self.activations[-1]


@dataclass(frozen=True, eq=False)
class Group:
    """Explanations that have had the same rules so far."""

    members: list[int]
    """Their indices."""
    R: Tensor
    """(members, …), their relevance."""


@dataclass(frozen=True, eq=False)
class LayerRelevance:
    """Relevance at the input of one layer."""

    index: int
    groups: list[Group]
    """All explanations, in their order."""
    sums: Tensor
    """(n,), total relevance of each explanation."""


def forward_pass(network: Network, inputs: Tensor, steps: Sequence[Steps]) -> ForwardPass:
    """Run ``network`` for ``inputs`` (B, …), so that all of ``steps`` can be taken back.

    A layer whose output is masked in all of them is computed together with the ReLU that follows it.
    """
    return resumed(network, ForwardPass([channels_last(inputs)], []), steps, {})


def resumed(
    network: Network, begun: ForwardPass, steps: Sequence[Steps], factors: Mapping[int, Tensor]
) -> ForwardPass:
    """Run the layers that ``begun`` lacks; ``factors`` (B, …) multiply the output of the layer of that index."""
    activations, extras = list(begun.activations), list(begun.extras)
    for index in range(len(extras), len(network.names)):
        rectified = bool(steps) and all(_is_rectified(index, chain) for chain in steps)
        y, extra = network.forward(index, rectified, activations[-1].dtype)(activations[-1])
        activations.append(channels_last(y * factors[index]) if index in factors else y)
        extras.append(extra)
    return ForwardPass(activations, extras)


def backward_pass(
    forward: ForwardPass, output_relevance: Tensor, rows: Sequence[int], steps: Sequence[Steps]
) -> Iterator[LayerRelevance]:
    """Redistribute ``output_relevance`` (n, C) from the last layer to the first.

    Explanation ``m`` is of the input in row ``rows[m]`` and takes ``steps[m]``. Explanations with the same steps
    must be neighbours, see `sorted_by_steps`.
    """
    groups, sums = [Group(list(range(len(rows))), output_relevance)], output_relevance.sum(1)
    for index in reversed(range(len(forward.extras))):
        parts = [part for group in groups for part in _split(group, [steps[m][index] for m in group.members])]
        groups = [propagate(forward, index, part, rows, step) for part, step in parts]
        if not all(step.layer.conserves for _, step in parts):
            sums = torch.cat([group.R.sum(tuple(range(1, group.R.dim()))) for group in groups])
        yield LayerRelevance(index, groups, sums)


def propagate(
    forward: ForwardPass, index: int, group: Group, rows: Sequence[int], step: RelevanceStep
) -> Group:
    """Redistribute the relevance of one group from the output of layer ``index`` to its input."""
    output = forward.activations[index + (2 if step.masked else 1)]
    selected = Rows([rows[m] for m in group.members])
    activations = Activations(selected, forward.activations[index], output, forward.extras[index])
    return Group(group.members, step.layer.relevance(group.R, activations))


def sorted_by_steps(steps: Sequence[Steps]) -> list[int]:
    """Return indices of ``steps`` such that those that share more of the last steps are closer together."""
    numbers: dict[RelevanceStep, int] = {}  # in the order of their appearance
    paths = [[numbers.setdefault(step, len(numbers)) for step in reversed(chain)] for chain in steps]
    return sorted(range(len(steps)), key=paths.__getitem__)


def _split(group: Group, steps: Sequence[RelevanceStep]) -> Iterator[tuple[Group, RelevanceStep]]:
    """Split ``group`` where the ``steps`` of its members change."""
    start = 0
    for step, run in itertools.groupby(steps):
        members = group.members[start : start + len(list(run))]
        yield Group(members, group.R.narrow(0, start, len(members))), step
        start += len(members)


def _is_rectified(index: int, steps: Steps) -> bool:
    """Whether layer ``index`` may be computed together with the ReLU that follows it, or is that ReLU."""
    return steps[index].masked or (index > 0 and steps[index - 1].masked)
