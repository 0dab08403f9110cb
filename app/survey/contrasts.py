"""Maps that say why a network predicts one class rather than another, for its most confident mistakes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from app.lrp.request import Start, Target
from app.survey.image.effects import Pixels
from app.survey.image.pooling import Rows
from app.survey.network import Network, run
from app.survey.predictions import Predictions

MAX_CONTRASTS = 40
"""Mistakes that are explained like this."""


async def contrasts(
    network: Network, pixels: Pixels, predictions: Predictions, rows: Rows
) -> Mapping[int, npt.NDArray[Any]]:
    """Return the relevance for the class predicted for each of ``rows`` rather than its label, (C, H, W)."""
    jobs = (
        network.job(
            pixels(row),
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
