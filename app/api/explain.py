"""``POST /predict`` and ``POST /explain``."""

import io
import json
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response

from app.answers import ExplainAnswer, PredictAnswer
from app.api.disconnect import while_connected
from app.api.documented import problems
from app.api.negotiation import Format, choose
from app.api.parameters import ExplainParameters, PredictParameters, each_once
from app.api.upload import read_upload, request_body
from app.pipeline import Explained, Pipeline

router = APIRouter(tags=["explain"], dependencies=[Depends(each_once)])

UPLOAD_PROBLEMS = (400, 406, 408, 413, 415, 422, 503, 504)


@router.post(
    "/predict",
    summary="Class scores of a picture",
    response_model=PredictAnswer,
    responses=problems(*UPLOAD_PROBLEMS),
    openapi_extra=request_body(),
)
async def predict(request: Request, asked: Annotated[PredictParameters, Query()]) -> Response:
    """Send a picture, get the probability of every class."""
    choose(None, request.headers.get("accept", ""), [Format.JSON])
    pipeline: Pipeline = request.state.pipeline
    data = await read_upload(request)
    work = pipeline.predict(data, asked.fit, asked.top_k, request.state.timings)
    answer = await while_connected(request, work)
    return Response(answer.model_dump_json(), media_type=Format.JSON.media_type)


@router.post(
    "/explain",
    summary="Class scores and a relevance heatmap of a picture",
    response_class=Response,
    responses={
        200: {
            "description": "The explanation: JSON with the heatmap in base64, the heatmap alone, or the "
            "relevance as a NumPy array.",
            "model": ExplainAnswer,
            "content": {
                Format.PNG.media_type: {"schema": {"type": "string", "format": "binary"}},
                Format.NPY.media_type: {"schema": {"type": "string", "format": "binary"}},
            },
            "headers": {
                name: {"schema": {"type": "string"}, "description": f"{text}; with PNG and npy."}
                for name, text in (
                    ("X-Prediction", "Label of the most probable class"),
                    ("X-Probability", "Its probability"),
                    ("X-Target", "Label of the explained class"),
                    ("X-Scores", "Probability of every class, as compact JSON"),
                )
            },
        },
        **problems(*UPLOAD_PROBLEMS),
    },
    openapi_extra=request_body(),
)
async def explain(request: Request, asked: Annotated[ExplainParameters, Query()]) -> Response:
    """Send a picture, see which pixels spoke for a class and which against.

    The `Accept` header picks the form of the answer: `application/json`, `image/png` or
    `application/x-npy`; `format=` does the same for a browser.
    """
    form = choose(asked.format, request.headers.get("accept", ""), [Format.JSON, Format.PNG, Format.NPY])
    how = asked.how()
    pipeline: Pipeline = request.state.pipeline
    data = await read_upload(request)
    explained = await while_connected(request, pipeline.explain(data, how, request.state.timings))
    return _respond(explained, form, values=asked.values)


def _respond(explained: Explained, form: Format, *, values: bool) -> Response:
    if form is Format.JSON:
        body: Any = explained.answer(values=values).model_dump_json()
        headers = {}
    else:
        body = explained.heatmap.png if form is Format.PNG else _npy(explained)
        headers = _headers(explained)
    return Response(body, media_type=form.media_type, headers={"Vary": "Accept", **headers})


def _npy(explained: Explained) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, explained.relevance)
    return buffer.getvalue()


def _headers(explained: Explained) -> dict[str, str]:
    receipt = explained.receipt
    scores = {score.label: round(score.probability, 6) for score in receipt.scores}
    return {
        "X-Prediction": _ascii(receipt.prediction.label),
        "X-Probability": f"{receipt.prediction.probability:.6f}",
        "X-Target": _ascii(receipt.target.label),
        "X-Scores": json.dumps(scores, separators=(",", ":")),
    }


def _ascii(label: str) -> str:
    """Headers are ASCII: other letters go as JSON escapes, as in X-Scores."""
    return json.dumps(label)[1:-1]
