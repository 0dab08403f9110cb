"""Maps that say why a network predicts one class rather than another, for its most confident mistakes."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from app.lrp.request import ExplanationRequest, Start, Target
from app.models.protocol import Job
from app.survey.network import Network, run
from app.survey.predictions import Predictions

MAX_CONTRASTS = 40
"""Mistakes that are explained like this."""


async def contrasts(
    network: Network, job: Callable[[int, ExplanationRequest], Job], predictions: Predictions
) -> Mapping[int, npt.NDArray[Any]]:
    """Return the relevance for the predicted class rather than the label of the most confident mistakes.

    ``job`` makes that of an input's number with a request.
    """
    rows = predictions.mistakes()[:MAX_CONTRASTS]
    jobs = (
        job(
            int(row),
            replace(
                network.request,
                target=Target(int(predictions.classes[row]), int(predictions.labels[row]), Start.LOGIT),
            ),
        )
        for row in rows
    )
    results = await run(network, jobs)
    return {
        int(row): np.asarray(result.explanations[0].relevance)
        for row, result in zip(rows, results, strict=True)
    }
