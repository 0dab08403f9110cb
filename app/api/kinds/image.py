"""Pictures over HTTP."""

from fastapi import Request

from app.api.http.upload import read_upload, request_body
from app.api.kinds.protocol import KindOverHTTP, Uploads
from app.api.parameters import ExplainParameters, PredictParameters
from app.serving.pipeline import Pipeline
from app.serving.representations import Format
from app.serving.schemas import ExplainAnswer, PredictAnswer
from app.serving.timings import Timings


async def _read(request: Request, _: Pipeline, __: Timings) -> Uploads:
    return Uploads([await read_upload(request)])


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
)
