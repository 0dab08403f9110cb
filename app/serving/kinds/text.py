"""Answers about texts."""

from app.modalities.text.modality import TextSample
from app.serving.answers import RenderedComparison, RenderedExplanation
from app.serving.schemas import (
    CompareTextAnswer,
    ExplainTextAnswer,
    PredictTextAnswer,
    Scale,
    TextExplanationReport,
    TextReport,
    TokenRelevance,
)


class TextAnswers:
    """Answers with the relevance of words; an `app.serving.answers.Answers`."""

    prediction = PredictTextAnswer
    report = TextExplanationReport

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
