"""What routes are given: parts of the application, and of the request."""

from typing import Annotated, cast

from fastapi import Depends, Request

from app.api.schemas import AboutModel
from app.serving.admission import Ticket
from app.serving.pipeline import Pipeline
from app.serving.readiness import Readiness
from app.serving.timings import Timings
from app.telemetry.metrics import Metrics

# Coroutines, because FastAPI runs plain functions on a thread.


async def _pipeline(request: Request) -> Pipeline:
    return cast("Pipeline", request.state.pipeline)


async def _about_model(request: Request) -> AboutModel:
    return cast("AboutModel", request.state.about_model)


async def _readiness(request: Request) -> Readiness:
    return cast("Readiness", request.state.readiness)


async def _metrics(request: Request) -> Metrics:
    return cast("Metrics", request.state.metrics)


async def _timings(request: Request) -> Timings:
    return cast("Timings", request.state.timings)


async def _ticket(request: Request) -> Ticket:
    return cast("Ticket", request.state.ticket)


PipelineDep = Annotated[Pipeline, Depends(_pipeline)]
AboutModelDep = Annotated[AboutModel, Depends(_about_model)]
ReadinessDep = Annotated[Readiness, Depends(_readiness)]
MetricsDep = Annotated[Metrics, Depends(_metrics)]
TimingsDep = Annotated[Timings, Depends(_timings)]
"""Timings of this request."""
TicketDep = Annotated[Ticket, Depends(_ticket)]
"""Ticket of this request, which holds one place; only of requests that use the model."""
