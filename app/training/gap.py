"""The gap of perturbation curves for all pictures of a dataset; see `app.quality.perturbation`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from app.lrp.attribution import output_relevance
from app.lrp.composites import Composite
from app.lrp.engine.engine import Engine
from app.lrp.request import ExplanationRequest, Target
from app.models.image_card import Normalisation
from app.quality.perturbation import (
    Curves,
    default_patch,
    flipped,
    group_sums,
    half,
    least_relevant_first,
    most_relevant_first,
    occlusion_scores,
    patch_groups,
)
from app.training.augment import normalise
from app.training.evaluation import logits_of

PICTURES_AT_ONCE = 8
"""Pictures whose perturbed copies are classified in one batch."""
MAPS_AT_ONCE = 64

Floats = npt.NDArray[np.floating[Any]]


class GapMeter:
    """Measures the gaps of maps of one network for the same pictures, with patches of the default side."""

    def __init__(self, engine: Engine, normalisation: Normalisation, images: Tensor) -> None:
        """``images``: (n, C, H, W) uint8."""
        self._engine = engine
        self._logits = logits_of(self._engine)
        self._inputs = normalise(images, normalisation)  # (n, C, H, W)
        height, width = images.shape[2:]
        self._groups = patch_groups(height, width, default_patch(height, width))
        self._count = int(self._groups.max()) + 1
        self._targets = torch.cat(
            [self._logits(x).argmax(1) for x in self._inputs.split(MAPS_AT_ONCE)]
        )  # (n,)

    def of_composite(self, composite: Composite) -> Floats:
        """Return the gap of each picture's map of its predicted class, (n,)."""
        scores = [
            group_sums(relevance, self._groups)
            for inputs in self._inputs.split(MAPS_AT_ONCE)
            for relevance in self._maps(inputs, composite)
        ]
        return self._gaps(scores)

    def of_occlusion(self) -> Floats:
        """Return the gap of each picture's occlusion map, (n,)."""
        scores = [
            occlusion_scores(self._probability_of(int(target)), x, np.zeros_like(x), self._groups)
            for x, target in zip(self._inputs.numpy(), self._targets, strict=True)
        ]
        return self._gaps(scores)

    def _maps(self, inputs: Tensor, composite: Composite) -> npt.NDArray[np.float32]:
        put_in = output_relevance([ExplanationRequest(composite, Target())] * len(inputs))
        return self._engine.attribute(inputs, composite, put_in).relevance.numpy()  # (B, C, H, W)

    def _gaps(self, scores: Sequence[Floats]) -> Floats:
        """Return the gap of each picture for scores of its patches, (groups,) each."""
        gaps: list[float] = []
        for first in range(0, len(scores), PICTURES_AT_ONCE):
            chunk = slice(first, first + PICTURES_AT_ONCE)
            gaps += self._gaps_of_chunk(self._inputs[chunk].numpy(), self._targets[chunk], scores[chunk])
        return np.array(gaps)

    def _gaps_of_chunk(self, inputs: Floats, targets: Tensor, scores: Sequence[Floats]) -> list[float]:
        flips = half(self._count)
        perturbed = [
            flipped(x, np.zeros_like(x), self._groups, order(of_patches), range(1, flips + 1))
            for x, of_patches in zip(inputs, scores, strict=True)
            for order in (most_relevant_first, least_relevant_first)
        ]
        logits = self._logits(torch.from_numpy(np.concatenate(perturbed)))  # (2 · pictures · flips, classes)
        probabilities = logits.softmax(1).view(len(inputs), 2 * flips, -1)
        of_target = probabilities.gather(2, targets.view(-1, 1, 1).expand(-1, 2 * flips, 1))
        curves = of_target.view(len(inputs), 2, flips).numpy()  # of the most and of the least relevant first
        return [Curves(most, least, self._count).gap for most, least in curves]

    def _probability_of(self, target: int) -> Callable[[Floats], Floats]:
        return lambda x: self._logits(torch.from_numpy(x)).softmax(1)[:, target].numpy()
