"""What there is: ``GET /model``, ``GET /rules``, ``GET /colormaps``, ``GET /metrics``."""

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import PlainTextResponse

from app.api.dependencies import AboutModelDep, MetricsDep, PipelineDep
from app.api.http.query import none_at_all
from app.api.openapi import problems
from app.api.schemas import AboutColormap, AboutModel, AboutRule, about_rule
from app.lrp.rules import RULES
from app.modalities.image.drawing.colormaps import COLORMAPS, legend

COUNTED = "lrpserve_batch_size_count 17.0"
router = APIRouter(tags=["about"], dependencies=[Depends(none_at_all)], responses=problems(422))


@router.get("/model", summary="The network, its classes, accuracy and limits")
async def get_model(about: AboutModelDep) -> AboutModel:
    """Everything one must know to reproduce an answer with the weights alone."""
    return about


@router.get("/rules", summary="The rules and composites, with formulas")
async def list_rules(pipeline: PipelineDep) -> list[AboutRule]:
    """What `rule=` may be, which parameters each takes, and when to use it."""
    return [
        *(about_rule("composite", info) for info in pipeline.composites.values()),
        *(about_rule("rule", info) for info in RULES.values()),
    ]


@router.get("/colormaps", summary="The colour maps")
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
    content, media_type = counters.exposed(request.headers.get("accept", ""))
    return Response(content, media_type=media_type)
