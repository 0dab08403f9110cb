"""The relevance that is put in at the output, and what comes back."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.lrp.request import Question, Start

Seed = Callable[[Tensor], Tensor]
"""Logits (B, C) -> relevance put in at the output (B, C)."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Relevance of a batch of inputs."""

    logits: Tensor
    """(B, C)"""
    start: Tensor
    """(B, C), the relevance that was put in."""
    relevance: Tensor
    """(B, …) at the input of the layer that was asked for, shaped like that input."""
    extremes: Tensor
    """(B, 2), the smallest and the largest value of each map; not a number where one of its values is none."""
    layers: tuple[str, ...]
    """Names, first layer first."""
    sums: Tensor
    """(B, layers), the relevance that arrived at the input of each."""

    def cpu(self) -> "Explanation":
        """The same in main memory."""
        return Explanation(
            self.logits.cpu(),
            self.start.cpu(),
            self.relevance.cpu(),
            self.extremes.cpu(),
            self.layers,
            self.sums.cpu(),
        )

    def rows(self) -> Iterator["Explanation"]:
        """The explanations of its inputs, each as a batch of one."""
        tensors = (self.logits, self.start, self.relevance, self.extremes, self.sums)
        for logits, start, relevance, extremes, sums in zip(*(t.split(1) for t in tensors), strict=True):
            yield Explanation(logits, start, relevance, extremes, self.layers, sums)


@dataclass(frozen=True, eq=False)
class Answers:
    """All that was asked of a batch, in main memory."""

    logits: Tensor
    """(B, C)"""
    explanations: tuple[Explanation, ...]
    """Each of a batch of one, in the order of the asks."""


def extremes(relevance: Tensor) -> Tensor:
    """The smallest and the largest value of each map: (B, …) -> (B, 2)."""
    return torch.stack(torch.aminmax(relevance.flatten(1), dim=1), 1)


def seed(questions: Sequence[Question]) -> Seed:
    """The relevance to put in for one question a row."""

    def start(logits: Tensor) -> Tensor:
        return torch.stack([_row(row, asked) for row, asked in zip(logits, questions, strict=True)])

    return start


_QUANTITIES: Mapping[Start, Callable[[Tensor], Tensor]] = {
    Start.ONE: torch.ones_like,
    Start.LOGIT: lambda logits: logits,
    Start.PROBABILITY: lambda logits: logits.softmax(0),
}


def _row(logits: Tensor, asked: Question) -> Tensor:
    """(C,) -> (C,)."""
    quantity = _QUANTITIES[asked.start](logits)
    target = int(logits.argmax()) if asked.target is None else asked.target
    start = torch.zeros_like(logits)
    start[target] += quantity[target]
    if asked.versus is not None:
        start[asked.versus] -= quantity[asked.versus]
    return start
