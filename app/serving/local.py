"""A pipeline with the model in this process, for commands."""

from typing import TYPE_CHECKING

from app.models.card import Kind
from app.settings import Settings

if TYPE_CHECKING:
    from app.serving.pipeline import Pipeline


def local_pipeline(settings: Settings, kind: Kind, threads: int = 1) -> "Pipeline":
    """Return a pipeline for inputs of ``kind`` that decodes and renders on ``threads`` of this process.

    Raises what `app.models.repository.served_model` raises.
    """
    from app.models.local import LocalModel
    from app.models.repository import served_model
    from app.runtime.threads import ThreadExecutor
    from app.serving.factory import create_pipeline, create_renderer
    from app.telemetry.metrics import Metrics

    card_path = served_model(settings, kind).card_path
    network = LocalModel.load(
        card_path,
        settings.device,
        settings.cores,
        settings.precision,
        cuda_graphs=settings.cuda_graphs,
    )
    renderers = ThreadExecutor(create_renderer(network.description, settings), threads)
    metrics = Metrics().of_model(network.description.card.name)
    return create_pipeline(network, settings, metrics, renderers, serves=False)
