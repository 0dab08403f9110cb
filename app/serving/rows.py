"""Explanations of pictures as rows of `app.parquet.schema`."""

from typing import Any, Literal

from app.parquet.schema import Row, relevance_columns
from app.serving.answers import RenderedExplanation
from app.serving.schemas import Value

MapForm = Literal["png", "npy"]
"""What a row has of the map: its drawing, or its values."""


def row_of(path: str, form: MapForm, explained: RenderedExplanation) -> Row:
    """Return the row of an explanation."""
    report, relevance = explained.report, explained.report.relevance
    return {
        "path": path,
        "model": f"{report.model.name}@{report.model.version}",
        **_prediction(report.prediction),
        "target": report.target.label,
        "target_index": report.target.index,
        "target_logit": _logit(report, report.target.index),
        "versus": report.versus and report.versus.label,
        "rule": report.rule.name,
        "layer": report.layer,
        "start": relevance.start,
        "sum": relevance.sum,
        "leak": relevance.leak,
        "bias": relevance.bias,
        "precision": relevance.precision,
        "difference": relevance.verify and relevance.verify.difference,
        "warnings": report.warnings,
        **({"png": explained.figure.png} if form == "png" else relevance_columns(explained.relevance)),
    }


def row_of_error(path: str, error: str) -> Row:
    """Return the row of a picture that cannot be explained."""
    return {"path": path, "error": error}


def _prediction(best: Any) -> dict[str, Any]:
    if isinstance(best, Value):
        return {"prediction": best.name, "prediction_index": 0, "logit": best.value}
    return {
        "prediction": best.label,
        "prediction_index": best.index,
        "probability": best.probability,
        "logit": best.logit,
    }


def _logit(report: Any, index: int) -> float | None:
    """Return the logit of a class, ``None`` if it is not among the scores."""
    if isinstance(report.prediction, Value):
        return float(report.prediction.value)
    return next((score.logit for score in report.scores if score.index == index), None)
