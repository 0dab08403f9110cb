"""Answers about rows of tables."""

from app.modalities.table.modality import TableSample
from app.serving.answers import RenderedComparison, RenderedExplanation
from app.serving.schemas import (
    CompareTableAnswer,
    ExplainTableAnswer,
    FeatureRelevance,
    FeatureReport,
    PredictTableAnswer,
    RowReport,
    TableExplanationReport,
)


class TableAnswers:
    """Answers with the relevance of features; an `app.serving.answers.Answers`."""

    prediction = PredictTableAnswer
    report = TableExplanationReport

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
