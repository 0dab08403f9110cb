"""Search for the composite whose maps score best on one network.

A composite gives each group of layers one rule. Coordinate ascent (one group at a time, all its rules) finds a
composite that no change of one group improves; then parameters are refined in factors of √2; then two groups are
changed at random, and it starts again from there (iterated local search, Lourenço et al. 2003).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.errors import InvalidParameterError
from app.lrp.composites import Chain, weighted
from app.lrp.overrides import as_text
from app.lrp.rules import RULES, AssignedRule

GRID: dict[str, tuple[dict[str, float], ...]] = {
    "zero": ({},),
    "epsilon": tuple({"epsilon": value} for value in (1e-6, 0.03, 0.1, 0.3, 1.0, 3.0)),
    "gamma": tuple({"gamma": value} for value in (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)),
    "alpha_beta": tuple({"alpha": value, "beta": value - 1} for value in (1.25, 1.5, 2.0)),
    "z_plus": ({},),
}
"""Rules, and their parameters, that each group may get."""
INPUT_GRID: dict[str, tuple[dict[str, float], ...]] = {
    **GRID,
    "flat": ({},),
    "w_square": ({},),
    "z_box": ({},),
}
"""Those that the first layer with weights may get."""
FACTORS = (2**-0.5, 2**0.5)
"""Factors by which parameters are refined."""


@dataclass(frozen=True)
class Group:
    """Layers that share a rule, and the rules that they may get."""

    layers: tuple[str, ...]
    options: tuple[AssignedRule, ...]


Candidate = tuple[AssignedRule, ...]
"""Rule of each group."""


@dataclass(frozen=True)
class SearchResult:
    """The best candidate, its score, and the number of candidates that were scored."""

    best: Candidate
    score: float
    tried: int


def layer_groups(chain: Chain) -> tuple[Group, ...]:
    """Return groups of the layers with weights: first layer, convolutions in two halves, dense layers, output."""
    layers = list(weighted(chain).items())
    (first, _), inner, output = layers[0], layers[1:-1], [name for name, _ in layers[1:][-1:]]
    convolutions = [name for name, kind in inner if kind == "convolution"]
    dense = [name for name, kind in inner if kind == "dense"]
    middle = (len(convolutions) + 1) // 2
    parts = [convolutions[:middle], convolutions[middle:], dense, output]
    return (
        Group((first,), _options(INPUT_GRID)),
        *(Group(tuple(part), _options(GRID)) for part in parts if part),
    )


def overrides(groups: Sequence[Group], candidate: Candidate) -> tuple[str, ...]:
    """Return the candidate as ``LAYER:RULE(name=value, …)``, one for each layer."""
    return tuple(
        f"{layer}:{as_text(rule)}"
        for group, rule in zip(groups, candidate, strict=True)
        for layer in group.layers
    )


def search(
    groups: Sequence[Group],
    starts: Sequence[Candidate],
    score: Callable[[Candidate], float],
    out_of_time: Callable[[], bool],
    seed: int = 0,
) -> SearchResult:
    """Return the best candidate found until ``out_of_time``, which is asked before each candidate is scored.

    Args:
        groups: groups of layers with the rules that each may get.
        starts: candidates to score first, at least one; the search goes on from the best of them.
        score: larger is better; called once for each candidate.
        out_of_time: whether the search shall end. The first of ``starts`` is always scored.
        seed: of the orders in which groups and rules are tried, and of the random changes.

    """
    state = _Search(groups, score, out_of_time, np.random.default_rng(seed))
    for start in starts:
        state.consider(start)
    while not out_of_time():
        state.climb()
        state.change_two_groups()
    return SearchResult(state.best, state.scores[state.best], len(state.scores))


class _Search:
    """Scores of candidates so far; ``current`` is where the search stands, ``best`` the best of all."""

    def __init__(
        self,
        groups: Sequence[Group],
        score: Callable[[Candidate], float],
        out_of_time: Callable[[], bool],
        generator: np.random.Generator,
    ) -> None:
        self.scores: dict[Candidate, float] = {}
        self._groups = groups
        self._score = score
        self._out_of_time = out_of_time
        self._generator = generator
        self.best: Candidate = ()
        self._current: Candidate = ()

    def consider(self, candidate: Candidate) -> bool:
        """Score ``candidate`` and go on from it if it is better; return whether it is."""
        if candidate not in self.scores:
            if self.scores and self._out_of_time():
                return False
            self.scores[candidate] = self._score(candidate)
        better = not self._current or self.scores[candidate] > self.scores[self._current]
        if better:
            self._current = candidate
        if not self.best or self.scores[candidate] > self.scores[self.best]:
            self.best = candidate
        return better

    def climb(self) -> None:
        """Change one group at a time, first its rule, then its parameters, until nothing is better."""
        while not self._out_of_time():
            # All are considered, not only those up to the first that is better.
            better = sum(map(self.consider, self._neighbours())) or sum(map(self.consider, self._refined()))
            if not better:
                return

    def change_two_groups(self) -> None:
        """Go on from the best candidate with new rules for two groups, whatever its score."""
        if self._out_of_time():
            return
        changed = list(self.best)
        count = min(2, len(self._groups))
        for index in self._generator.choice(len(self._groups), count, replace=False):
            options = self._groups[index].options
            changed[index] = options[self._generator.integers(len(options))]
        self._current = ()
        self.consider(tuple(changed))

    def _neighbours(self) -> Iterator[Candidate]:
        """Yield the current candidate with another rule for one group; follows changes of the current one."""
        for index in self._generator.permutation(len(self._groups)):
            options = self._groups[index].options
            for option in self._generator.permutation(len(options)):
                yield _with(self._current, index, options[option])

    def _refined(self) -> Iterator[Candidate]:
        """Yield the current candidate with other parameters for one group."""
        for index in self._generator.permutation(len(self._groups)):
            for factor in FACTORS:
                if refined := _scaled(self._current[index], factor):
                    yield _with(self._current, index, refined)


def _options(grid: dict[str, tuple[dict[str, float], ...]]) -> tuple[AssignedRule, ...]:
    return tuple(
        AssignedRule(name, tuple(parameters.items())) for name, many in grid.items() for parameters in many
    )


def _with(candidate: Candidate, index: int, rule: AssignedRule) -> Candidate:
    return (*candidate[:index], rule, *candidate[index + 1 :])


def _scaled(rule: AssignedRule, factor: float) -> AssignedRule | None:
    """Return ``rule`` with its free parameter multiplied; ``None`` without one, or out of its range."""
    if not rule.parameters:
        return None
    (name, value), *_ = rule.parameters  # β follows from α
    try:
        complete = RULES[rule.name].complete({name: float(f"{value * factor:.3g}")})
    except InvalidParameterError:
        return None
    return replace(rule, parameters=tuple(complete.items()))
