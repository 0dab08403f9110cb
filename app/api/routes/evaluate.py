"""``POST /evaluate``: how good explanations of one input are, for each kind of input."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from app.api.dependencies import TimingsDep, pipeline_of
from app.api.http.disconnect import while_connected
from app.api.http.negotiation import choose
from app.api.http.query import each_once_but_rules
from app.api.kinds.protocol import KindOverHTTP
from app.api.openapi import problems
from app.api.parameters_of_several import EvaluationParameters
from app.api.routes.explain import UPLOAD_PROBLEMS, respond
from app.api.rule_parameters import query
from app.serving import representations
from app.serving.pipeline import Pipeline
from app.serving.representations import Format


def create_router(kinds: Sequence[KindOverHTTP]) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["explain"], dependencies=[Depends(each_once_but_rules)])
    for kind in kinds:
        _add_evaluate(router, kind)
    return router


def _add_evaluate(router: APIRouter, kind: KindOverHTTP) -> None:
    ceiling = kind.evaluate.answer.ceiling_name

    @router.post(
        f"/evaluate{kind.suffix}",
        name=kind.name("evaluate"),
        summary=f"How far the maps of {kind.noun} can be trusted",
        description=f"Send {kind.noun}, see how good the maps of each `rule` are.\n\n"
        f"{kind.evaluate.removal}, the most relevant ones of a map first, and the least relevant ones first. The "
        "wider the *gap* between the curves of the two, the better the map: a random order has a gap of 0, "
        f"`{ceiling}` about the largest one. The answer takes a few seconds, while other requests go before it. "
        "`docs/evaluation.md` explains all measures and their limits.",
        response_class=Response,
        responses={
            200: {
                "description": "Perturbation curves and their gaps, sensitivity, randomisation, sparseness and "
                f"leak of each rule, beside a random order and `{ceiling}`; or the curves as a chart.",
                "model": kind.evaluate.answer,
                "content": {Format.PNG.media_type: {"schema": Format.PNG.schema}},
            },
            **problems(*UPLOAD_PROBLEMS),
        },
        openapi_extra=dict(kind.body),
    )
    async def evaluate(
        request: Request,
        asked: Annotated[EvaluationParameters, Depends(query(kind.evaluate.parameters, kind.kind))],
        pipeline: Annotated[Pipeline, Depends(pipeline_of(kind.kind))],
        timings: TimingsDep,
    ) -> Response:
        form = choose(asked.form, request.headers.get("accept", ""), [Format.JSON, Format.PNG])
        options = asked.options()
        data = await kind.read_one(request, pipeline, timings)
        write = partial(representations.evaluation, form=form)
        work = pipeline.evaluate(data, options, timings, write)
        return respond(await while_connected(request, work), form)
