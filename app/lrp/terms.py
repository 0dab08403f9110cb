"""Terms: the form that every rule of a weighted layer has.

A rule redistributes relevance as a sum of terms. With sources u (the layer's input, its positive part, ones, …),
each with its own weights v, a term is

    share · Σ u · vᵀ(R / s(Σ v u + c)),    s(z) = z + ε·sgn(z), sgn(0) = +1

A rule is therefore fully described by sources, weights, biases and shares, which the engine compiles.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the server process reads the rules and must not import torch
    from torch import Tensor

STABILIZER = 1e-6
"""ε of the rules that have no parameter for it; Zennit's default."""


class Source(Enum):
    """Values that are multiplied with weights."""

    INPUT = auto()
    POSITIVE = auto()  # max(input, 0)
    NEGATIVE = auto()  # min(input, 0)
    ONES = auto()
    LOW = auto()  # the smallest value that the input may have
    HIGH = auto()  # the largest value that the input may have


class Outputs(Enum):
    """Outputs whose relevance a term redistributes, by the sign of the output."""

    ALL = auto()
    POSITIVE = auto()
    NEGATIVE = auto()


@dataclass(frozen=True, eq=False)
class Part:
    """A source u and its weights v, which are shaped like the layer's."""

    source: Source
    weight: "Tensor"


@dataclass(frozen=True, eq=False)
class Term:
    """One term, in the form given at the top of this module."""

    parts: tuple[Part, ...]
    bias: "Tensor | None"
    """c, (out,)"""
    share: float = 1.0
    outputs: Outputs = Outputs.ALL
    """For others than all: where the layer's output has this sign, Σ v u + c has it, too."""
    epsilon: float = STABILIZER
    """ε of s"""


Terms = tuple[Term, ...]
