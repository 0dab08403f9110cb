"""Answers about texts, and the parts that they are evaluated by."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from app.modalities.text.modality import TextSample, groups, without
from app.models.card import ModelCard
from app.quality.perturbation import group_sums
from app.serving.answers import RenderedComparison, RenderedExplanation
from app.serving.evaluation_schemas import EvaluateTextAnswer
from app.serving.kinds.text_schemas import (
    CompareTextAnswer,
    ExplainTextAnswer,
    PredictTextAnswer,
    Scale,
    TextExplanationReport,
    TextReport,
    TokenRelevance,
)
from app.serving.removal import Chosen, Scores
from app.serving.requests import EvaluateOptions


class TextAnswers:
    """Answers with the relevance of words; an `app.serving.answers.Answers`."""

    prediction = PredictTextAnswer
    report = TextExplanationReport
    evaluation = EvaluateTextAnswer

    def input_report(self, sample: TextSample) -> TextReport:
        """See `Answers`: lengths of the text."""
        return TextReport(characters=len(sample.text), tokens=len(sample.tokens), cut=sample.cut)

    def explanation(self, rendered: RenderedExplanation, *, values: bool) -> ExplainTextAnswer:
        """See `Answers`: the relevance of each word or token."""
        figure = rendered.figure
        return ExplainTextAnswer(
            **rendered.report_with(values=values),
            tokens=[TokenRelevance.model_validate(token, from_attributes=True) for token in figure.tokens],
            scale=Scale.model_validate(figure, from_attributes=True),
        )

    def comparison(self, compared: RenderedComparison, *, values: bool) -> CompareTextAnswer:
        """See `Answers`: all explanations."""
        explanations = [self.explanation(one, values=values) for one in compared.explained]
        return CompareTextAnswer(**dict(compared.predicted), explanations=explanations)


class WordRemoval:
    """Deletes words of texts; an `app.serving.removal.Removal`."""

    def __init__(self, _: ModelCard) -> None:
        pass

    def check(self, options: EvaluateOptions) -> None:
        """See `Removal`: texts have no options."""

    def parts(self, sample: TextSample, _: EvaluateOptions) -> "Words":
        """See `Removal`."""
        return Words(sample)


@dataclass(frozen=True, eq=False)
class Words:
    """The words of a text, whose tokens are deleted, so that it becomes shorter; `Parts`."""

    sample: TextSample

    @cached_property
    def count(self) -> int:
        """See `Parts`."""
        return int(groups(self.sample).max()) + 1

    @property
    def facts(self) -> dict[str, Any]:
        """See `Parts`."""
        return {"words": self.count}

    def scores(self, relevance: Scores) -> Scores:
        """See `Parts`: (T,) -> (words,). That of special tokens belongs to no word."""
        of_words = groups(self.sample)
        return group_sums(relevance[of_words >= 0], of_words[of_words >= 0])

    def elements(self, relevance: Scores) -> Scores:
        """See `Parts`: (T,) -> (1, words)."""
        return self.scores(relevance)[None]

    def without(self, removed: Chosen) -> npt.NDArray[np.int64]:
        """See `Parts`."""
        return without(self.sample, {int(word) for word in removed})

    def nearby(self) -> Iterable[npt.NDArray[np.int64]]:
        """See `Parts`: no text differs from another by a small number."""
        return ()
