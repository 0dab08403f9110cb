"""Evaluation of explanations: runs the jobs that the measures of `app.quality` need.

One evaluation runs about a thousand jobs: inputs without some of their parts, inputs nearby, and the input
itself on networks with random layers. They are submitted a few at a time, so that neither memory nor the queue
grows with their number, and a cancelled evaluation stops after those.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from app.batched import batched
from app.lrp.composites import weighted
from app.lrp.explanation import Explanation
from app.lrp.request import ExplanationRequest
from app.modalities.protocol import Sample
from app.models.card import Output
from app.models.protocol import Description, Job, JobResult
from app.quality.perturbation import (
    Curves,
    flips_to_change,
    least_relevant_first,
    most_relevant_first,
    random_scores,
)
from app.quality.randomization import similarity
from app.quality.sensitivity import max_sensitivity
from app.quality.sparseness import gini
from app.serving.removal import Parts

Scores = npt.NDArray[np.floating[Any]]
Submit = Callable[[Job], Awaitable[JobResult]]

IN_FLIGHT = 16
"""Jobs of one evaluation that are submitted at the same time: one batch that runs, and the next one."""


@dataclass(frozen=True, eq=False)
class RuleEvaluation:
    """What was measured of one map."""

    request: ExplanationRequest
    curves: Curves
    flips_after: int | None
    """Fewest most relevant parts whose removal changes what is predicted; see `decisions`."""
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
    facts: Mapping[str, Any]
    """Members of the answer that say what the parts are."""
    rules: tuple[RuleEvaluation, ...]
    random: Curves
    """A random order of the parts; it depends on the input alone."""
    ceiling: Curves
    """The order by how far the curve falls when one part alone is removed."""


class Evaluator:
    """Evaluates explanations of one input."""

    def __init__(
        self,
        submit: Submit,
        described: Description,
        sample: Sample,
        parts: Parts,
        explanations: Sequence[ExplanationRequest],
    ) -> None:
        """``submit`` runs a job; ``explanations`` of ``sample`` are all for the same target."""
        self._submit = submit
        self._described = described
        self._output = described.card.output
        self._sample, self._parts, self._explanations = sample, parts, explanations

    async def evaluate(self) -> Evaluation:
        """Return all measures."""
        results = await self._run(self._job(self._sample.input, one) for one in self._explanations)
        logits = np.array(results[0].logits)
        target = self._explanations[0].target.index
        target = int(logits.argmax()) if target is None else target
        control = random_scores(self._parts.count, zlib.crc32(self._sample.input.tobytes()))
        random, _ = await self._curves(control, target)
        ceiling, _ = await self._curves(await self._falls(logits, target), target)
        rules = [
            await self._rule(one, result.explanations[0], logits, target)
            for one, result in zip(self._explanations, results, strict=True)
        ]
        return Evaluation(logits.tolist(), target, self._parts.facts, tuple(rules), random, ceiling)

    def _job(self, x: npt.NDArray[Any], request: ExplanationRequest, randomized: int = 0) -> Job:
        return Job(x, (request,), baseline=self._sample.baseline, randomized=randomized)

    async def _rule(
        self, request: ExplanationRequest, explanation: Explanation, logits: Scores, target: int
    ) -> RuleEvaluation:
        """Measure one map; other inputs and networks are explained for the same ``target``."""
        fixed = replace(request, target=replace(request.target, index=target))
        (predicted,) = decisions(logits[None], self._output, target)
        curves, most = await self._curves(self._parts.scores(explanation.relevance), target)
        return RuleEvaluation(
            request,
            curves,
            flips_to_change(decisions(most, self._output, target), predicted),
            await self._sensitivity(fixed, explanation, predicted, target),
            await self._randomization(fixed, explanation),
            gini(self._parts.elements(explanation.relevance)),
            explanation.leak,
        )

    async def _curves(self, scores: Scores, target: int) -> tuple[Curves, Scores]:
        """Return the curves of a map, and the logits while its most relevant parts are removed."""
        most, least = [
            await self._logits(self._parts.without(order[:removed]) for removed in range(1, len(order) + 1))
            for order in (most_relevant_first(scores), least_relevant_first(scores))
        ]
        followed_most, followed_least = (followed(one, self._output)[:, target] for one in (most, least))
        return Curves(followed_most, followed_least, self._parts.count), most

    async def _falls(self, logits: Scores, target: int) -> Scores:
        """Return by how much the curve falls when each part alone is removed, (parts,)."""
        after = await self._logits(self._parts.without([part]) for part in range(self._parts.count))
        scores: Scores = followed(logits, self._output)[target] - followed(after, self._output)[:, target]
        return scores

    async def _sensitivity(
        self, request: ExplanationRequest, explanation: Explanation, predicted: int, target: int
    ) -> float | None:
        results = await self._run(self._job(x, request) for x in self._parts.nearby())
        return max_sensitivity(
            explanation.relevance,
            (
                result.explanations[0].relevance
                for result in results
                if decisions(np.array([result.logits]), self._output, target) == [predicted]
            ),
        )

    async def _randomization(
        self, request: ExplanationRequest, explanation: Explanation
    ) -> tuple[tuple[str, float | None], ...]:
        layers = list(weighted(self._described.chain))[::-1]
        results = await self._run(
            self._job(self._sample.input, request, depth) for depth in range(1, len(layers) + 1)
        )
        original, *maps = (
            self._parts.elements(one.relevance)
            for one in (explanation, *(result.explanations[0] for result in results))
        )
        return tuple((layer, similarity(original, found)) for layer, found in zip(layers, maps, strict=True))

    async def _logits(self, inputs: Iterable[npt.NDArray[Any]]) -> Scores:
        """Return the logits of ``inputs``, (n, classes)."""
        return np.array([result.logits for result in await self._run(map(Job, inputs))])

    async def _run(self, jobs: Iterable[Job]) -> list[JobResult]:
        """Return the results of ``jobs``, which are made as they are submitted."""
        results = list[JobResult]()
        for chunk in batched(jobs, IN_FLIGHT):
            results += await asyncio.gather(*map(self._submit, chunk))
        return results


def followed(logits: Scores, output: Output) -> Scores:
    """Return what curves follow: probabilities, or the predicted value itself; (…, classes) -> (…, classes)."""
    if output == "value":
        return logits
    if output == "labels":
        return 0.5 * (1 + np.tanh(logits / 2))  # the sigmoid, without overflow
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities: Scores = exponentials / exponentials.sum(-1, keepdims=True)
    return probabilities


def decisions(logits: Scores, output: Output, target: int) -> list[int]:
    """Return what is decided for each of n inputs, (n, classes) -> n numbers.

    The class with the highest logit; whether the label ``target`` applies; of a value always the same.
    """
    if output == "value":
        return [0] * len(logits)
    decided = logits[:, target] > 0 if output == "labels" else logits.argmax(1)
    return [int(one) for one in decided]
