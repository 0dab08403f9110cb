"""Rows of tables over HTTP."""

from typing import Annotated, Literal

from fastapi import Request
from pydantic import BaseModel, Field

from app.api.http.errors import UnsupportedMediaTypeError
from app.api.http.upload import UNDECLARED, media_type_of, refuse_compressed
from app.api.kinds.protocol import (
    BatchItem,
    BatchOverHTTP,
    ComparisonOverHTTP,
    EvaluationOverHTTP,
    KindOverHTTP,
    Uploads,
)
from app.api.openapi import json_or_text
from app.api.parameters import (
    FORM_OF_ANSWER,
    ExplanationParameters,
    RuleName,
    ScoreParameters,
    SingleParameters,
)
from app.api.parameters_of_several import ComparisonParameters, EvaluationParameters, JsonOrPng
from app.api.schemas import Limits
from app.modalities.table.modality import TableOptions, baseline_of
from app.modalities.table.parsing import MAX_ROWS, rows_of_csv, rows_of_json
from app.serving.evaluation_schemas import EvaluateTableAnswer
from app.serving.kinds.table_schemas import (
    BatchTableAnswer,
    CompareTableAnswer,
    ExplainTableAnswer,
    ExplainTableAnswers,
    PredictTableAnswer,
    PredictTableAnswers,
)
from app.serving.pipeline import Pipeline
from app.serving.representations import Format
from app.serving.requests import MAX_COMPARED
from app.serving.timings import Timings

SEND_ROW = 'send {"features": {…}} or {"rows": [{…}, …]} as application/json, or a table as text/csv'
FeatureValue = float | str | None
Baseline = Annotated[
    str,
    Field(
        examples=["zero"],
        description="Row that a row is compared with: `mean` of the training data, `zero`, or a row as JSON. The "
        "first layer attributes the difference to it.",
    ),
]


class RowBody(BaseModel):
    """One row, by the names of its features."""

    features: dict[str, FeatureValue]


class RowsBody(BaseModel):
    """Several rows."""

    rows: list[dict[str, FeatureValue]] = Field(min_length=1, max_length=MAX_ROWS)


BODY = json_or_text([RowBody, RowsBody], {"features": "{{row}}"}, "text/csv", "{{csv}}")
"""OpenAPI of the body."""


class PredictTableParameters(ScoreParameters):
    """Parameters of ``/predict/table``."""

    def input_options(self) -> TableOptions:
        """Return the defaults: nothing is drawn."""
        return TableOptions()


class DrawnTableParameters(ExplanationParameters):
    """Parameters of endpoints that respond with the relevance of features."""

    baseline: Baseline = "mean"

    def input_options(self) -> TableOptions:
        """Return the baseline and how rows are drawn; raises `InvalidParameterError`."""
        return TableOptions(baseline_of(self.baseline), self.colour_style())


class SingleTableParameters(SingleParameters, DrawnTableParameters):
    """Parameters of endpoints that return one explanation for each row."""

    rule: RuleName = Field(
        "zero",
        examples=["epsilon"],
        description="A single rule for every weighted layer, or a composite; `GET /rules` explains them. Under "
        "`zero`, relevance and `bias` add up to the prediction.",
    )


class ExplainTableParameters(SingleTableParameters):
    """Parameters of ``/explain/table``."""

    format: Literal["json", "png", "npy"] | None = Field(None, examples=["png"], description=FORM_OF_ANSWER)


class BatchTableParameters(SingleTableParameters):
    """Parameters of ``/explain/batch/table``."""

    format: Literal["json", "zip"] | None = Field(None, examples=["zip"], description=FORM_OF_ANSWER)


class SeveralTableRules(ScoreParameters):
    """The parameter ``rule`` where there may be several: by default, rules that tell features apart."""

    rule: list[RuleName] = Field(
        ["zero", "epsilon", "gamma"],
        min_length=1,
        max_length=MAX_COMPARED,
        examples=[["zero", "z_plus"]],
        description="Rules or composites, repeatable. Composites that are `flat` at the input give all features "
        "the same relevance.",
    )


class EvaluateTableParameters(SeveralTableRules, EvaluationParameters):
    """Parameters of ``/evaluate/table``."""

    baseline: Baseline = "mean"
    format: JsonOrPng = None

    def input_options(self) -> TableOptions:
        """Return the baseline; raises `InvalidParameterError`."""
        return TableOptions(baseline_of(self.baseline))


class CompareTableParameters(SeveralTableRules, ComparisonParameters, DrawnTableParameters):
    """Parameters of ``/compare/table``."""

    format: JsonOrPng = None


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


async def _read_several(request: Request, pipeline: Pipeline, _: Limits, timings: Timings) -> list[BatchItem]:
    rows = (await _read(request, pipeline, timings)).items
    return [BatchItem({"index": index}, "row", row) for index, row in enumerate(rows)]


TABLE = KindOverHTTP(
    kind="table",
    suffix="/table",
    noun="a row of a table",
    items="rows",
    parts="features",
    relevance="the relevance of its features",
    read=_read,
    body=BODY,
    predict=PredictTableParameters,
    explain=ExplainTableParameters,
    prediction=PredictTableAnswer,
    explanation=ExplainTableAnswer,
    bodies=(RowBody, RowsBody),
    forms=(Format.JSON, Format.PNG, Format.NPY),
    batch=BatchOverHTTP(
        'as `{"rows": [{…}, …]}` or as CSV', _read_several, BODY, BatchTableParameters, BatchTableAnswer
    ),
    evaluate=EvaluationOverHTTP(
        EvaluateTableParameters,
        EvaluateTableAnswer,
        "Features are set to those of the `baseline` one after another",
    ),
    compare=ComparisonOverHTTP(CompareTableParameters, CompareTableAnswer, (Format.JSON, Format.PNG)),
    predictions=PredictTableAnswers,
    explanations=ExplainTableAnswers,
)
