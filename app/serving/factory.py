"""The parts behind the routes made from the settings, for the service and the command line alike."""

import math
from dataclasses import replace

from app.models.protocol import Description, Model
from app.runtime.executor import Executor
from app.runtime.turns import Turns
from app.serving.kinds.registry import KINDS
from app.serving.pipeline import EvaluationLimits, Pipeline
from app.serving.rendering import Renderer
from app.serving.reports import Engines, ReportWriter
from app.serving.scheduler import BatchLimits, Scheduler
from app.settings import Settings
from app.telemetry.metrics import ModelMetrics


def create_pipeline(
    model: Model,
    settings: Settings,
    metrics: ModelMetrics,
    renderers: Executor[Renderer],
    turns: Turns | None = None,
    *,
    serves: bool = True,
) -> Pipeline:
    """Return the pipeline for requests to ``model``, for the service and the command line alike.

    ``renderers`` decode and render, with the model's `create_renderer`. ``turns`` are those that the model takes
    with others. If it ``serves``, jobs wait for a limited time, and evaluations are limited so that other
    requests do not wait for them.
    """
    limits = BatchLimits(settings.max_batch, settings.queue_deadline_s)
    evaluations = EvaluationLimits(settings.max_evaluations, settings.evaluation_deadline_s)
    if not serves:
        limits = replace(limits, max_background_batch=limits.max_batch, deadline_s=math.inf)
        evaluations = replace(evaluations, deadline_s=None)
    return Pipeline(
        Scheduler(model, limits=limits, metrics=metrics, turns=turns),
        renderers,
        create_reports(model.description, settings),
        KINDS[model.description.card.kind].removal(model.description.card),
        metrics=metrics,
        evaluations=evaluations,
    )


def create_renderer(described: Description, settings: Settings) -> Renderer:
    """Return what decodes and renders for a model; it can be sent to another process."""
    modality = KINDS[described.card.kind].modality(described, settings)
    return Renderer(modality, create_reports(described, settings))


def create_reports(described: Description, settings: Settings) -> ReportWriter:
    """Return what writes reports on a model's results."""
    return ReportWriter(
        described.card,
        Engines(described.engine, described.precision, described.reference),
        settings.low_confidence,
        KINDS[described.card.kind].answers,
    )


def worker_memory_bytes(settings: Settings) -> int:
    """Return the memory that a worker may allocate: twice what the largest accepted picture was measured to need.

    25 megapixels as an animated WebP take 20 bytes a pixel, the most of all formats. A body is in memory up to
    four times while it is received and decoded.
    """
    return 2**28 + 32 * settings.max_pixels + 8 * settings.max_body_bytes
