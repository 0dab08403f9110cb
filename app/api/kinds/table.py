"""Rows of tables over HTTP."""

from typing import Literal

from fastapi import Request
from pydantic import BaseModel, Field

from app.api.http.errors import UnsupportedMediaTypeError
from app.api.http.upload import UNDECLARED, media_type_of, refuse_compressed
from app.api.kinds.protocol import KindOverHTTP, Uploads
from app.api.openapi import json_or_text
from app.api.parameters import FORM_OF_ANSWER, RuleName, ScoreParameters, SingleParameters
from app.modalities.table.modality import TableOptions, baseline_of
from app.modalities.table.parsing import MAX_ROWS, rows_of_csv, rows_of_json
from app.serving.pipeline import Pipeline
from app.serving.representations import Format
from app.serving.schemas import (
    ExplainTableAnswer,
    ExplainTableAnswers,
    PredictTableAnswer,
    PredictTableAnswers,
)
from app.serving.timings import Timings

SEND_ROW = 'send {"features": {…}} or {"rows": [{…}, …]} as application/json, or a table as text/csv'
FeatureValue = float | str | None


class RowBody(BaseModel):
    """One row, by the names of its features."""

    features: dict[str, FeatureValue]


class RowsBody(BaseModel):
    """Several rows."""

    rows: list[dict[str, FeatureValue]] = Field(min_length=1, max_length=MAX_ROWS)


class PredictTableParameters(ScoreParameters):
    """Parameters of ``/predict/table``."""

    def input_options(self) -> TableOptions:
        """Return the defaults: nothing is drawn."""
        return TableOptions()


class ExplainTableParameters(SingleParameters):
    """Parameters of ``/explain/table``."""

    rule: RuleName = Field(
        "zero",
        examples=["epsilon"],
        description="A single rule for every weighted layer, or a composite; `GET /rules` explains them. Under "
        "`zero`, relevance and `bias` add up to the prediction.",
    )
    baseline: str = Field(
        "mean",
        examples=["zero"],
        description="Row that a row is compared with: `mean` of the training data, `zero`, or a row as JSON. The "
        "first layer attributes the difference to it.",
    )
    format: Literal["json", "png", "npy"] | None = Field(None, examples=["png"], description=FORM_OF_ANSWER)

    def input_options(self) -> TableOptions:
        """Return the baseline and how rows are drawn; raises `InvalidParameterError`."""
        return TableOptions(baseline_of(self.baseline), self.colour_style())


async def _read(request: Request, pipeline: Pipeline, timings: Timings) -> Uploads:
    refuse_compressed(request)
    media_type, body = media_type_of(request), await request.body()
    if media_type in UNDECLARED:
        media_type = "application/json" if body.lstrip()[:1] in (b"{", b"[") else "text/csv"
    if media_type not in ("application/json", "text/csv"):
        raise UnsupportedMediaTypeError(f"{media_type} is no table; {SEND_ROW}")
    read = rows_of_json if media_type == "application/json" else rows_of_csv
    found = await pipeline.read(timings, read, body)
    return Uploads(found.rows, found.several)


TABLE = KindOverHTTP(
    kind="table",
    suffix="/table",
    noun="a row of a table",
    items="rows",
    parts="features",
    relevance="the relevance of its features",
    read=_read,
    body=json_or_text([RowBody, RowsBody], {"features": "{{row}}"}, "text/csv", "{{csv}}"),
    predict=PredictTableParameters,
    explain=ExplainTableParameters,
    prediction=PredictTableAnswer,
    explanation=ExplainTableAnswer,
    bodies=(RowBody, RowsBody),
    forms=(Format.JSON, Format.PNG, Format.NPY),
    predictions=PredictTableAnswers,
    explanations=ExplainTableAnswers,
)
