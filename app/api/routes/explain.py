"""``POST /predict`` and ``POST /explain``."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from app.api.dependencies import PipelineDep, TicketDep, TimingsDep
from app.api.http.disconnect import while_connected
from app.api.http.negotiation import choose
from app.api.http.query import each_once
from app.api.http.upload import read_upload, request_body
from app.api.openapi import problems
from app.api.parameters import ExplainParameters, PredictParameters
from app.api.rule_parameters import query
from app.serving import representations
from app.serving.representations import Format
from app.serving.requests import places_of
from app.serving.schemas import ExplainAnswer, PredictAnswer

UPLOAD_PROBLEMS = (400, 404, 406, 408, 413, 415, 422, 503, 504)


def create_router() -> APIRouter:
    """Return the routes, whose query parameters include those of the rules in the table."""
    router = APIRouter(tags=["explain"], dependencies=[Depends(each_once)])

    @router.post(
        "/predict",
        summary="Class scores of a picture",
        response_model=PredictAnswer,
        responses=problems(*UPLOAD_PROBLEMS),
        openapi_extra=request_body(),
    )
    async def predict(
        request: Request,
        asked: Annotated[PredictParameters, Depends(query(PredictParameters))],
        pipeline: PipelineDep,
        timings: TimingsDep,
    ) -> Response:
        """Send a picture, get the probability of every class."""
        choose(None, request.headers.get("accept", ""), [Format.JSON])
        data = await read_upload(request)
        work = pipeline.predict(data, asked.fit, asked.top_k, timings)
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
                        (
                            "X-Scores",
                            f"Probability of the {representations.MAX_SCORES_IN_HEADER} most probable classes, "
                            "as compact JSON",
                        ),
                    )
                },
            },
            **problems(*UPLOAD_PROBLEMS),
        },
        openapi_extra=request_body(),
    )
    async def explain(
        request: Request,
        asked: Annotated[ExplainParameters, Depends(query(ExplainParameters))],
        pipeline: PipelineDep,
        timings: TimingsDep,
        ticket: TicketDep,
    ) -> Response:
        """Send a picture, see which pixels spoke for a class and which against.

        The `Accept` header picks the form of the answer: `application/json`, `image/png` or
        `application/x-npy`; `format=` does the same for a browser.
        """
        form = choose(asked.format, request.headers.get("accept", ""), [Format.JSON, Format.PNG, Format.NPY])
        options = asked.options()
        ticket.acquire_weight(places_of([options.samples]))
        data = await read_upload(request)
        write = partial(representations.explanation, form=form, values=asked.values)
        work = pipeline.explain(data, options, timings, write)
        return respond(await while_connected(request, work), form)

    return router


def respond(content: representations.Representation, form: Format) -> Response:
    """A response with ``content``, one of several representations that the client may accept."""
    return Response(content.body, media_type=form.media_type, headers={"Vary": "Accept", **content.headers})
