"""Answers about rows of tables, and the parts that they are evaluated by."""

import numpy as np

from app.modalities.table.modality import TableSample
from app.modalities.table.spec import Number
from app.models.card import ModelCard
from app.models.table_card import table_card
from app.serving.answers import RenderedComparison, RenderedExplanation
from app.serving.evaluation_schemas import EvaluateTableAnswer
from app.serving.kinds.table_schemas import (
    CompareTableAnswer,
    ExplainTableAnswer,
    FeatureRelevance,
    FeatureReport,
    PredictTableAnswer,
    RowReport,
    TableExplanationReport,
)
from app.serving.removal import ReplacedParts, Scores
from app.serving.requests import EvaluateOptions


class TableAnswers:
    """Answers with the relevance of features; an `app.serving.answers.Answers`."""

    prediction = PredictTableAnswer
    report = TableExplanationReport
    evaluation = EvaluateTableAnswer

    def input_report(self, sample: TableSample) -> RowReport:
        """See `Answers`: the features as sent."""
        return RowReport(
            features=[FeatureReport.model_validate(one, from_attributes=True) for one in sample.features]
        )

    def explanation(self, rendered: RenderedExplanation, *, values: bool) -> ExplainTableAnswer:
        """See `Answers`: the relevance of each feature."""
        features = rendered.figure.features
        return ExplainTableAnswer(
            **rendered.report_with(values=values),
            features=[FeatureRelevance.model_validate(one, from_attributes=True) for one in features],
        )

    def comparison(self, compared: RenderedComparison, *, values: bool) -> CompareTableAnswer:
        """See `Answers`: all explanations."""
        explanations = [self.explanation(one, values=values) for one in compared.explained]
        return CompareTableAnswer(**dict(compared.predicted), explanations=explanations)


class FeatureRemoval:
    """Sets features to those of the baseline; an `app.serving.removal.Removal`."""

    def __init__(self, card: ModelCard) -> None:
        self._spec = table_card(card).spec

    def check(self, options: EvaluateOptions) -> None:
        """See `Removal`: the baseline is checked where the row is decoded."""

    def parts(self, sample: TableSample, _: EvaluateOptions) -> "Features":
        """See `Removal`: all columns of a category are one part."""
        features = self._spec.features
        columns = np.repeat(np.arange(len(features)), [feature.columns for feature in features])
        facts = {"features": len(features)}
        return Features(sample.input, sample.baseline, columns, self._range(sample.input), facts)

    def _range(self, x: Scores) -> tuple[Scores, Scores]:
        """Return the ends of the training data's range, and what of ``x`` is beyond; categories stay."""
        low, high = x.astype(np.float64), x.astype(np.float64)
        for feature, place in zip(self._spec.features, self._spec.places, strict=True):
            if isinstance(feature, Number):
                low[place] = np.minimum(low[place], (feature.minimum - feature.mean) / feature.std)
                high[place] = np.maximum(high[place], (feature.maximum - feature.mean) / feature.std)
        return low, high


class Features(ReplacedParts):
    """The features of a row; `Parts`."""

    def elements(self, relevance: Scores) -> Scores:
        """See `Parts`: (columns,) -> (1, features)."""
        return self.scores(relevance)[None]
