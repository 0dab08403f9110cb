"""Evaluation of explanations: runs the jobs that the measures of `app.quality` need.

One evaluation runs about a thousand jobs: inputs with flipped patches, inputs nearby, and the input itself on
networks with random layers. They are submitted a few at a time, so that neither memory nor the queue grows with
their number, and a cancelled evaluation stops after those.
"""

import asyncio
import itertools
import zlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from app.lrp.composites import parametrized
from app.lrp.explanation import Explanation
from app.lrp.request import ExplanationRequest
from app.models.image_card import ImageCard, image_card
from app.models.protocol import Description, Job, JobResult
from app.quality.perturbation import (
    Curves,
    Replacement,
    flipped,
    flips_to_change,
    group_sums,
    least_relevant_first,
    most_relevant_first,
    occluded,
    patch_groups,
    random_scores,
    replacement_values,
)
from app.quality.randomization import similarity
from app.quality.sensitivity import COUNT, RADIUS, inputs_nearby, max_sensitivity
from app.quality.sparseness import gini

Floats = npt.NDArray[np.float32]
Scores = npt.NDArray[np.floating[Any]]
Submit = Callable[[Job], Awaitable[JobResult]]

IN_FLIGHT = 16
"""Jobs of one evaluation that are submitted at the same time: one batch that runs, and the next one."""


@dataclass(frozen=True, eq=False)
class EvaluationRequest:
    """Which explanations of one input are evaluated, and what its patches are replaced by."""

    explanations: tuple[ExplanationRequest, ...]
    """All for the same target."""
    patch: int
    """Side of a patch in pixels of the network's input, which it divides."""
    replacement: Replacement


@dataclass(frozen=True, eq=False)
class RuleEvaluation:
    """What was measured of one map."""

    request: ExplanationRequest
    curves: Curves
    flips_after: int | None
    """Fewest most relevant patches whose removal changes the predicted class."""
    sensitivity: float | None
    randomization: tuple[tuple[str, float | None], ...]
    """Name of the last layer that is random, from the output to the input, and the similarity of the maps."""
    sparseness: float
    leak: float | None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was measured of the maps of one input."""

    logits: list[float]
    target: int
    request: EvaluationRequest
    rules: tuple[RuleEvaluation, ...]
    random: Curves
    """A random order of the patches; it depends on the input alone."""
    occlusion: Curves
    """The order by how far the probability falls when one patch alone is replaced."""


class Evaluator:
    """Evaluates explanations of one input."""

    def __init__(self, submit: Submit, described: Description, x: Floats, request: EvaluationRequest) -> None:
        """``submit`` runs a job; ``x`` is the input (C, H, W)."""
        self._submit = submit
        self._described = described
        self._x, self._request = x, request
        _, height, width = x.shape
        self._groups = patch_groups(height, width, request.patch)
        self._count = int(self._groups.max()) + 1
        self._values = replacement_values(x, request.replacement, request.patch)

    async def evaluate(self) -> Evaluation:
        """Return all measures."""
        requests = self._request.explanations
        results = await self._run(Job(self._x, (one,)) for one in requests)
        logits = np.array(results[0].logits)
        predicted, target = int(logits.argmax()), requests[0].target.index
        target = predicted if target is None else target
        control = random_scores(self._count, zlib.crc32(self._x.tobytes()))
        random, _ = await self._curves(control, target)
        occlusion, _ = await self._curves(await self._occlusion(logits, target), target)
        rules = [
            await self._rule(one, result.explanations[0], predicted, target)
            for one, result in zip(requests, results, strict=True)
        ]
        return Evaluation(logits.tolist(), target, self._request, tuple(rules), random, occlusion)

    async def _rule(
        self, request: ExplanationRequest, explanation: Explanation, predicted: int, target: int
    ) -> RuleEvaluation:
        """Measure one map; other inputs and networks are explained for the same ``target``."""
        fixed = replace(request, target=replace(request.target, index=target))
        curves, classes = await self._curves(group_sums(explanation.relevance, self._groups), target)
        return RuleEvaluation(
            request,
            curves,
            flips_to_change(classes, predicted),
            await self._sensitivity(fixed, explanation, predicted),
            await self._randomization(fixed, explanation),
            gini(explanation.relevance),
            explanation.leak,
        )

    async def _curves(self, scores: Scores, target: int) -> tuple[Curves, list[int]]:
        """Return the curves of a map, and the predicted classes while its most relevant patches are flipped."""
        most, least = [
            await self._logits(
                flipped(self._x, self._values, self._groups, order, [flips])[0]
                for flips in range(1, self._count + 1)
            )
            for order in (most_relevant_first(scores), least_relevant_first(scores))
        ]
        curves = Curves(_probabilities(most)[:, target], _probabilities(least)[:, target], self._count)
        return curves, most.argmax(1).tolist()

    async def _occlusion(self, logits: Scores, target: int) -> Scores:
        """Return by how much the target's probability falls when each patch alone is replaced, (patches,)."""
        after = await self._logits(
            occluded(self._x, self._values, self._groups, [patch])[0] for patch in range(self._count)
        )
        scores: Scores = _probabilities(logits)[target] - _probabilities(after)[:, target]
        return scores

    async def _sensitivity(
        self, request: ExplanationRequest, explanation: Explanation, predicted: int
    ) -> float | None:
        low, high = _range(image_card(self._described.card))
        nearby = inputs_nearby(self._x, low, high, RADIUS, COUNT, seed=0)
        results = await self._run(Job(x, (request,)) for x in nearby)
        keep_class = [result for result in results if int(np.argmax(result.logits)) == predicted]
        return max_sensitivity(
            explanation.relevance, (result.explanations[0].relevance for result in keep_class)
        )

    async def _randomization(
        self, request: ExplanationRequest, explanation: Explanation
    ) -> tuple[tuple[str, float | None], ...]:
        layers = parametrized(self._described.chain)[::-1]
        results = await self._run(
            Job(self._x, (request,), randomized=depth) for depth in range(1, len(layers) + 1)
        )
        maps = [result.explanations[0].relevance for result in results]
        return tuple(
            (layer, similarity(explanation.relevance, found))
            for layer, found in zip(layers, maps, strict=True)
        )

    async def _logits(self, inputs: Iterable[Floats]) -> Scores:
        """Return the logits of ``inputs``, (n, classes)."""
        return np.array([result.logits for result in await self._run(map(Job, inputs))])

    async def _run(self, jobs: Iterable[Job]) -> list[JobResult]:
        """Return the results of ``jobs``, which are made as they are submitted."""
        remaining, results = iter(jobs), list[JobResult]()
        while chunk := list(itertools.islice(remaining, IN_FLIGHT)):
            results += await asyncio.gather(*map(self._submit, chunk))
        return results


def _probabilities(logits: Scores) -> Scores:
    """Softmax over the last axis: (…, classes) -> (…, classes)."""
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities: Scores = exponentials / exponentials.sum(-1, keepdims=True)
    return probabilities


def _range(card: ImageCard) -> tuple[Scores, Scores]:
    """Return black and white after normalisation, each (C, 1, 1)."""
    mean, std = (
        np.reshape(values, (-1, 1, 1)) for values in (card.normalisation.mean, card.normalisation.std)
    )
    return (0 - mean) / std, (1 - mean) / std
