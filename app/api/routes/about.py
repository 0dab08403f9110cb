"""What there is: ``GET /models``, ``/model``, ``/rules``, ``/colormaps`` and ``/metrics``."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import PlainTextResponse

from app.api.dependencies import CatalogueDep, LimitsDep, MetricsDep, PipelineDep, PipelineInPathDep
from app.api.http.query import each_once, none_at_all
from app.api.openapi import problems
from app.api.parameters import ModelParameter
from app.api.schemas import (
    AboutColormap,
    AboutModel,
    AboutModels,
    AboutRule,
    about_model,
    about_rule,
    model_entry,
)
from app.modalities.drawing.colormaps import COLORMAPS, legend
from app.telemetry.metrics import exposition

COUNTED = 'lrpserve_batch_size_count{model="{{name}}"} 17.0'
NO_PARAMETERS = [Depends(none_at_all)]
router = APIRouter(tags=["about"], responses=problems(422))


@router.get("/models", summary="The models that answer here", dependencies=NO_PARAMETERS)
async def list_models(request: Request, catalogue: CatalogueDep) -> AboutModels:
    """What `model=` may be, and which model answers where it is not given."""
    entries = [model_entry(one.description, catalogue.is_default(one)) for one in catalogue]
    return AboutModels(models=entries, reports=request.state.reports is not None)


@router.get(
    "/model", summary="The default network, its classes, accuracy and limits", dependencies=NO_PARAMETERS
)
async def get_model(catalogue: CatalogueDep, limits: LimitsDep) -> AboutModel:
    """Everything one must know to reproduce an answer with the weights alone."""
    return about_model(catalogue.default.description, limits)


@router.get(
    "/models/{model}",
    summary="A network, its classes, accuracy and limits",
    dependencies=NO_PARAMETERS,
    responses=problems(404),
)
async def get_named_model(pipeline: PipelineInPathDep, limits: LimitsDep) -> AboutModel:
    """The same as `/model` of one of the models in `/models`."""
    return about_model(pipeline.description, limits)


@router.get(
    "/rules",
    summary="The rules and composites, with formulas",
    dependencies=[Depends(each_once)],
    responses=problems(404),
)
async def list_rules(pipeline: PipelineDep, _: Annotated[ModelParameter, Query()]) -> list[AboutRule]:
    """What `rule=` may be, which parameters each takes, and when to use it."""
    return [
        *(about_rule("composite", info) for info in pipeline.composites.values()),
        *(about_rule("rule", info) for info in pipeline.rules.values()),
    ]


@router.get("/colormaps", summary="The colour maps", dependencies=NO_PARAMETERS)
async def list_colormaps() -> list[AboutColormap]:
    """What `colormap=` may be."""
    return [
        AboutColormap(
            name=info.name,
            kind=info.kind,
            colour_blind_safe=info.colour_blind_safe,
            description=info.description,
            colours=legend(info),
        )
        for info in COLORMAPS.values()
    ]


@router.get(
    "/metrics",
    summary="Counters for Prometheus",
    dependencies=NO_PARAMETERS,
    response_class=PlainTextResponse,
    responses={
        200: {
            "content": {
                "text/plain": {"example": COUNTED},
                "application/openmetrics-text": {
                    "schema": {"type": "string"},
                    "example": f"{COUNTED}\n# EOF",
                },
            }
        }
    },
)
async def get_metrics(request: Request, counters: MetricsDep) -> Response:
    """Requests, stage durations, batch sizes, the queue, refusals and leaks, in Prometheus' text format; or as
    OpenMetrics, where the `Accept` header asks for `application/openmetrics-text`.
    """
    content, media_type = exposition(await counters.collected(), request.headers.get("accept", ""))
    return Response(content, media_type=media_type)
