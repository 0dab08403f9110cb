"""What the workers of a cluster do. Imports nothing of Ray."""

from dataclasses import dataclass

from app.parquet.folder import Folder
from app.serving.requests import ExplainOptions
from app.serving.rows import MapForm
from app.settings import Settings


def with_absolute_paths(settings: Settings) -> Settings:
    """Return ``settings`` that find the same models from another working directory."""
    model = settings.model and settings.model.absolute()
    return settings.model_copy(update={"models": settings.models.absolute(), "model": model})


@dataclass(frozen=True)
class Work:
    """Pictures are explained by the image model of ``settings``; rows have their maps in this ``form``."""

    settings: Settings
    options: ExplainOptions
    form: MapForm
    folder: Folder
    """On a file system that all machines share."""
