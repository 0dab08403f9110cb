"""The pipeline of commands, with the model in this process."""

from typing import TYPE_CHECKING

from app.settings import Settings

if TYPE_CHECKING:
    from app.serving.pipeline import Pipeline


def local_pipeline(settings: Settings) -> "Pipeline":
    """Return a pipeline that decodes and renders on a thread of this process."""
    from app.main import create_pipeline
    from app.models.local import LocalModel
    from app.models.repository import served_model
    from app.runtime.threads import ThreadExecutor
    from app.telemetry.metrics import Metrics

    network = LocalModel.load(served_model(settings).card_path, settings.device, settings.cores)
    return create_pipeline(
        network,
        settings,
        Metrics(),
        lambda _: None,
        lambda renderer: ThreadExecutor(renderer, 1),
        serves=False,
    )
