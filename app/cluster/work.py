"""What the workers of a cluster do. Imports nothing of Ray."""

from dataclasses import dataclass

from app.parquet.folder import Folder
from app.serving.requests import ExplainOptions
from app.serving.rows import MapForm
from app.settings import Settings


@dataclass(frozen=True)
class Work:
    """Pictures are explained by the image model of ``settings``; rows have their maps in this ``form``."""

    settings: Settings
    options: ExplainOptions
    form: MapForm
    folder: Folder
    """On a file system that all machines share."""
