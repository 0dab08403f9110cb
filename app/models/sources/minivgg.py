"""The source ``minivgg``: weights of this project's own architecture from elsewhere."""

from app.errors import SourceError
from app.models.architectures.minivgg import MiniVGG
from app.models.sources.image_input import ImageInput
from app.models.sources.protocol import SourceModel, SourceOptions
from app.models.sources.weights import built


class MiniVGGSource:
    """MiniVGG with any number of classes; see `app.models.sources.protocol.Source`."""

    def load(self, argument: str, options: SourceOptions) -> SourceModel:
        """Return MiniVGG with the weights of the options."""
        if argument:
            raise SourceError(
                "minivgg takes nothing after a colon; its weights are given with --weights FILE"
            )
        if options.size not in (None, MiniVGG.input_size[1:]):
            raise SourceError("--size: MiniVGG takes 32×32 only")
        network, _ = built(MiniVGG, 10, options, "minivgg")
        return SourceModel(network, "MiniVGG", ImageInput(MiniVGG.input_size), None)
