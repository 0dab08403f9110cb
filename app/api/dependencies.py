"""What routes are given: parts of the application, and of the request."""

from collections.abc import Awaitable, Callable
from typing import Annotated, cast

from fastapi import Depends, Path, Request

from app.api.schemas import Limits
from app.models.card import Kind
from app.serving.admission import Ticket
from app.serving.catalogue import Catalogue
from app.serving.pipeline import Pipeline
from app.serving.readiness import Readiness
from app.serving.timings import Timings
from app.telemetry.metrics import Metrics

# Coroutines, because FastAPI runs plain functions on a thread.


async def _catalogue(request: Request) -> Catalogue:
    return cast("Catalogue", request.state.catalogue)


CatalogueDep = Annotated[Catalogue, Depends(_catalogue)]
ModelName = Annotated[str, Path(description="Name of a served model.", examples=["{{name}}"])]


async def _pipeline(request: Request, catalogue: CatalogueDep) -> Pipeline:
    return note_model(request, catalogue.find(request.query_params.get("model")))


def pipeline_of(kind: Kind) -> Callable[..., Awaitable[Pipeline]]:
    """Return a dependency: the pipeline of the model that the query names, else of the default one of ``kind``.

    It raises `UnknownModelError`, and `InvalidParameterError` for a model that takes another kind of input.
    """

    async def pipeline(request: Request, catalogue: CatalogueDep) -> Pipeline:
        return note_model(request, catalogue.find(request.query_params.get("model"), kind))

    return pipeline


async def _pipeline_in_path(request: Request, catalogue: CatalogueDep, model: ModelName) -> Pipeline:
    return note_model(request, catalogue.find(model))


def note_model(request: Request, pipeline: Pipeline) -> Pipeline:
    """Return ``pipeline``; its model's name in the state of the request is for metrics and logs."""
    request.state.model = pipeline.card.name
    return pipeline


async def _limits(request: Request) -> Limits:
    return cast("Limits", request.state.limits)


async def _readiness(request: Request) -> Readiness:
    return cast("Readiness", request.state.readiness)


async def _metrics(request: Request) -> Metrics:
    return cast("Metrics", request.state.metrics)


async def _timings(request: Request) -> Timings:
    return cast("Timings", request.state.timings)


async def _ticket(request: Request) -> Ticket:
    return cast("Ticket", request.state.ticket)


PipelineDep = Annotated[Pipeline, Depends(_pipeline)]
"""Pipeline of the model that the query names, else of the default one; raises `UnknownModelError`."""
PipelineInPathDep = Annotated[Pipeline, Depends(_pipeline_in_path)]
"""Pipeline of the model that the path names; raises `UnknownModelError`."""
ImagePipelineDep = Annotated[Pipeline, Depends(pipeline_of("image"))]
"""Pipeline of the model of images that the query names, else of the default one; see `pipeline_of`."""
LimitsDep = Annotated[Limits, Depends(_limits)]
ReadinessDep = Annotated[Readiness, Depends(_readiness)]
MetricsDep = Annotated[Metrics, Depends(_metrics)]
TimingsDep = Annotated[Timings, Depends(_timings)]
"""Timings of this request."""
TicketDep = Annotated[Ticket, Depends(_ticket)]
"""Ticket of this request, which holds one place; only of requests that use the model."""
