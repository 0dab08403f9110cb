"""The source ``huggingface:FOLDER``: what transformers' ``save_pretrained`` wrote of a network."""

from collections.abc import Callable, Mapping
from pathlib import Path

from app.errors import SourceError
from app.models.sources.huggingface_files import CONFIG, read_json
from app.models.sources.huggingface_images import image_model
from app.models.sources.huggingface_text import text_model
from app.models.sources.protocol import SourceModel, SourceOptions
from app.models.sources.weights import refuse_weights

TASKS: Mapping[str, Callable[..., SourceModel]] = {
    "ForImageClassification": image_model,
    "ForSequenceClassification": text_model,
}
"""By the end of the name of the network's class."""


class HuggingFaceSource:
    """Networks for the classification of images and texts; see `app.models.sources.protocol.Source`."""

    def load(self, argument: str, options: SourceOptions) -> SourceModel:
        """Return the network in the folder ``argument``."""
        folder = Path(argument)
        refuse_weights(options, f"huggingface:{argument}")
        config = read_json(folder / CONFIG)
        architecture = str((config.get("architectures") or [""])[0])
        for end, model_of in TASKS.items():
            if architecture.endswith(end):
                return model_of(folder, architecture, config, options)
        raise SourceError(
            f"{folder / CONFIG}: architectures must name a network {' or '.join(TASKS)}, not "
            f"{architecture or 'none'}"
        )
