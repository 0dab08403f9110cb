"""Pictures over HTTP."""

import re
from pathlib import PurePath

from fastapi import Request

from app.api.http.upload import files_body, read_files, read_upload, request_body
from app.api.kinds.image_parameters import (
    BatchParameters,
    CompareParameters,
    EvaluateParameters,
    ExplainParameters,
    PredictParameters,
)
from app.api.kinds.protocol import (
    BatchItem,
    BatchOverHTTP,
    ComparisonOverHTTP,
    EvaluationOverHTTP,
    KindOverHTTP,
    Uploads,
)
from app.api.schemas import Limits
from app.serving.evaluation_schemas import EvaluateAnswer
from app.serving.kinds.image_schemas import BatchAnswer, CompareAnswer, ExplainAnswer, PredictAnswer
from app.serving.pipeline import Pipeline
from app.serving.representations import Format
from app.serving.timings import Timings


async def _read(request: Request, _: Pipeline, __: Timings) -> Uploads:
    return Uploads([await read_upload(request)])


async def _read_files(request: Request, _: Pipeline, limits: Limits, __: Timings) -> list[BatchItem]:
    files = await read_files(request, limits.max_pictures)
    return [BatchItem({"file": file.name}, _safe(file.name), file.data) for file in files]


def _safe(name: str) -> str:
    """Return the stem of a file's name with characters that are safe in every file system."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", PurePath(name).stem)[:64] or "picture"


IMAGE = KindOverHTTP(
    kind="image",
    suffix="",
    noun="a picture",
    items="pictures",
    parts="pixels",
    relevance="a relevance heatmap",
    read=_read,
    body=request_body(),
    predict=PredictParameters,
    explain=ExplainParameters,
    prediction=PredictAnswer,
    explanation=ExplainAnswer,
    forms=(Format.JSON, Format.PNG, Format.NPY),
    batch=BatchOverHTTP("as parts `file`", _read_files, files_body(), BatchParameters, BatchAnswer),
    compare=ComparisonOverHTTP(CompareParameters, CompareAnswer, (Format.JSON, Format.PNG)),
    evaluate=EvaluationOverHTTP(
        EvaluateParameters, EvaluateAnswer, "Patches of the picture are replaced one after another"
    ),
)
