"""The pipeline of commands, with the model in this process."""

from typing import TYPE_CHECKING

from app.settings import Settings

if TYPE_CHECKING:
    from app.serving.pipeline import Pipeline


def local_pipeline(settings: Settings) -> "Pipeline":
    """Return a pipeline that decodes and renders on a thread of this process."""
    from app.models.local import LocalModel
    from app.models.repository import served_model
    from app.runtime.threads import ThreadExecutor
    from app.serving.factory import create_pipeline, create_renderer
    from app.telemetry.metrics import Metrics

    network = LocalModel.load(served_model(settings).card_path, settings.device, settings.cores)
    renderers = ThreadExecutor(create_renderer(network.description, settings), 1)
    metrics = Metrics().of_model(network.description.card.name)
    return create_pipeline(network, settings, metrics, renderers, serves=False)
