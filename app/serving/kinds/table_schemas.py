"""Responses about rows of tables as pydantic models; placeholders as in `app.serving.schemas`."""

from pydantic import Field

from app.serving.schemas import Answer, ExplanationOf, Prediction, PredictionOf, Value


class FeatureReport(Answer):
    """One feature of a row."""

    name: str = Field(examples=["Cement"])
    value: float | str | None = Field(description="As sent; null: missing, and imputed.", examples=[540.0])
    unit: str | None = Field(examples=["kg/m³"])
    outside_training_range: bool = Field(description="Whether no row of the training data has such a value.")


class RowReport(Answer):
    """A row of a table."""

    features: list[FeatureReport] = Field(description="In the model's order.")


class PredictTableAnswer(PredictionOf[Prediction | Value, RowReport]):
    """Class scores of one row, or the value that is predicted of it."""


class TableExplanationReport(ExplanationOf[Prediction | Value, RowReport]):
    """An explanation of a row without the relevance of its features."""


class PredictTableAnswers(Answer):
    """Predictions of several rows."""

    results: list[PredictTableAnswer] = Field(description="In the order of the rows.")


class FeatureRelevance(FeatureReport):
    """One feature of a row and its relevance."""

    relevance: float = Field(
        description="In the unit of the prediction where `start` is `logit`.", examples=[12.3]
    )


class ExplainTableAnswer(TableExplanationReport):
    """Scores of one row, and the relevance of its features."""

    features: list[FeatureRelevance] = Field(
        description="In the model's order; the columns of a category are summed."
    )


class ExplainTableAnswers(Answer):
    """Explanations of several rows."""

    results: list[ExplainTableAnswer] = Field(description="In the order of the rows.")


class CompareTableAnswer(PredictTableAnswer):
    """Several explanations of one row on one scale."""

    explanations: list[ExplainTableAnswer] = Field(
        description="Rule by rule in the order asked for, and for each rule target by target."
    )


class BatchTableResult(Answer):
    """Explanation of one row of a batch, or what is wrong with it."""

    index: int = Field(ge=0, description="Its place among the rows as sent, from 0.")
    explanation: ExplainTableAnswer | None = None
    problem: dict[str, object] | None = Field(
        default=None, description="RFC 9457 problem, as a request with this row alone gets."
    )


class BatchTableAnswer(Answer):
    """Explanations of several rows."""

    results: list[BatchTableResult] = Field(description="In the order of the rows.")
