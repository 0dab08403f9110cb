"""``POST /evaluate``: how good explanations of a picture are."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from app.api.dependencies import ImagePipelineDep, TimingsDep
from app.api.http.disconnect import while_connected
from app.api.http.negotiation import choose
from app.api.http.query import each_once_but_rules
from app.api.http.upload import read_upload, request_body
from app.api.openapi import problems
from app.api.parameters_of_several import EvaluateParameters
from app.api.routes.explain import UPLOAD_PROBLEMS, respond
from app.api.rule_parameters import query
from app.serving import representations
from app.serving.evaluation_schemas import EvaluateAnswer
from app.serving.representations import Format

router = APIRouter(tags=["explain"], dependencies=[Depends(each_once_but_rules)])


@router.post(
    "/evaluate",
    summary="How far the maps of a picture can be trusted",
    response_class=Response,
    responses={
        200: {
            "description": "Perturbation curves and their gaps, sensitivity, randomisation, sparseness and leak "
            "of each rule, beside a random order and occlusion; or the curves as a chart.",
            "model": EvaluateAnswer,
            "content": {Format.PNG.media_type: {"schema": {"type": "string", "format": "binary"}}},
        },
        **problems(*UPLOAD_PROBLEMS),
    },
    openapi_extra=request_body(),
)
async def evaluate(
    request: Request,
    asked: Annotated[EvaluateParameters, Depends(query(EvaluateParameters))],
    pipeline: ImagePipelineDep,
    timings: TimingsDep,
) -> Response:
    """Send a picture, see how good the maps of each `rule` are.

    Patches of the picture are replaced one after another, the most relevant ones of a map first, and the least
    relevant ones first. The wider the *gap* between the probabilities of the two, the better the map: a random
    order has a gap of 0, `occlusion` about the largest one. The answer takes a few seconds, while other requests
    go before it. `docs/evaluation.md` explains all measures and their limits.
    """
    form = choose(asked.format, request.headers.get("accept", ""), [Format.JSON, Format.PNG])
    options = asked.options()
    data = await read_upload(request)
    write = partial(representations.evaluation, form=form)
    work = pipeline.evaluate(data, options, timings, write)
    return respond(await while_connected(request, work), form)
