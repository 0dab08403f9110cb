"""Surveys of texts, from their maps to what is written."""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from app.lrp.request import ExplanationRequest
from app.modalities.text.modality import TextModality, TextOptions, TextSample
from app.modalities.text.spec import PADDING, TextSpec
from app.models.protocol import Job
from app.survey.arrays import Floats, chunks
from app.survey.contrasts import contrasts
from app.survey.findings import Findings
from app.survey.kind import Page
from app.survey.network import Network
from app.survey.predictions import Predictions
from app.survey.stages import Stages
from app.survey.store import Layout
from app.survey.text.findings import ClassWords, TextFindings
from app.survey.text.occurrences import Occurrences, occurrences_of
from app.survey.text.page import page
from app.survey.text.removals import chosen_texts, flipping, removals
from app.survey.text.summary import summary
from app.survey.text.words import category_means, words_of_class


class TextKind:
    """Surveys of texts; an `app.survey.kind.SurveyKind`."""

    def __init__(self, spec: TextSpec) -> None:
        self._modality = TextModality(spec)
        self.layout = Layout((spec.max_tokens,), np.int32)
        """See `SurveyKind`: ids of the tokens of the longest text that the network takes."""

    def content(self, sample: TextSample) -> npt.NDArray[np.int64]:
        """See `SurveyKind`: ids of the tokens, and padding as the network's, (most tokens,)."""
        ids = np.full(self.layout.shape, PADDING, np.int64)
        ids[: len(sample.input)] = sample.input
        return ids

    def find(self, found: Findings, network: Network, stages: Stages) -> TextFindings:
        """See `SurveyKind`: what words count, and what the network says without them and of its mistakes."""
        predictions, items = found.predictions, found.items
        assert isinstance(predictions, Predictions)  # models that predict a value are refused

        def sample(text: int) -> TextSample:
            return self._modality.decode(items[text].read(), TextOptions())

        def job(text: int, request: ExplanationRequest) -> Job:
            return Job(sample(text).input, (request,))

        with stages.stage("words", len(items)) as advance:
            occurrences = occurrences_of(map(sample, range(len(items))), _maps(found), advance)
            by_class = [
                _of_class(int(one), occurrences, predictions) for one in np.unique(predictions.classes)
            ]
        seed = found.setup.seed
        with stages.stage("removals of words", len(chosen_texts(len(items), seed))) as advance:
            tried = asyncio.run(removals(network, sample, occurrences, predictions, seed, advance))
        with stages.timed("contrasts"):
            contrasted = asyncio.run(contrasts(network, job, predictions))
        return TextFindings(
            **found.shared,
            occurrences=occurrences,
            by_class=by_class,
            removals=tried,
            flipping=flipping(tried, occurrences.vocabulary),
            contrasts=contrasted,
        )

    def columns(self, findings: TextFindings) -> Mapping[str, pa.Array]:
        """See `SurveyKind`: the text, and words without which its prediction changes; null if none was tried."""
        vocabulary = findings.occurrences.vocabulary
        flipped: dict[int, list[str]] = {
            text: [] for text in chosen_texts(len(findings.items), findings.setup.seed)
        }
        for one in findings.removals:
            flipped[one.text] += [vocabulary[one.word]] * one.flips
        return {
            "text": pa.array([one.read() for one in findings.items], pa.string()),
            "flipped_without": pa.array(
                [flipped.get(text) for text in range(len(findings.items))], pa.list_(pa.string())
            ),
        }

    def summary(self, findings: TextFindings) -> Mapping[str, Any]:
        """See `SurveyKind`."""
        return summary(findings)

    def page(self, findings: TextFindings) -> Page:
        """See `SurveyKind`."""
        return page(findings, self._modality)

    def write(self, findings: TextFindings, folder: Path) -> None:
        """See `SurveyKind`: nothing."""


def _of_class(target: int, found: Occurrences, predictions: Predictions) -> ClassWords:
    return ClassWords(
        target,
        int((predictions.classes == target).sum()),
        words_of_class(target, found, predictions),
        category_means(target, found, predictions),
    )


def _maps(found: Findings) -> Iterator[Floats]:
    """Yield the map of each text, as long as the longest."""
    numbers = np.arange(len(found.rows))
    for part in chunks(found.store, len(numbers)):
        yield from found.contributions(numbers[part])
