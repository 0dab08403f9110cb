"""The source ``timm:NAME``: architectures of the package timm, with their classes and preprocessing."""

from typing import Any

from torch import nn

from app.errors import SourceError
from app.modalities.image.spec import Resampling
from app.models.image_card import Normalisation, Preprocessing
from app.models.sources.image_input import ImageInput
from app.models.sources.names import imported, meant, told_apart
from app.models.sources.protocol import SourceModel, SourceOptions
from app.models.sources.weights import built

EXTRA = "timm"


class TimmSource:
    """Networks for classification; see `app.models.sources.protocol.Source`."""

    def load(self, argument: str, options: SourceOptions) -> SourceModel:
        """Return the network ``argument``, such as ``resnet18`` or ``resnet18.a1_in1k``."""
        timm, data = imported("timm", EXTRA), imported("timm.data", EXTRA)
        # Names with a colon would be looked up on a server.
        if ":" in argument or not timm.is_model(argument):
            raise SourceError(f"timm has no network {argument!r}{meant(argument, timm.list_models())}")

        def build(count: int) -> nn.Module:
            sized = {"img_size": options.size} if options.size and _has_fixed_size(timm, argument) else {}
            network: nn.Module = timm.create_model(argument, pretrained=False, num_classes=count, **sized)
            return network

        published = timm.get_pretrained_cfg(argument).to_dict()
        network, count = built(build, published["num_classes"], options, f"timm:{argument}")
        config = data.resolve_data_config(pretrained_cfg=published)
        return SourceModel(
            network,
            argument,
            ImageInput(
                (config["input_size"][0], *(options.size or config["input_size"][1:])),
                Normalisation(mean=config["mean"], std=config["std"]),
                _preprocessing(config, argument),
            ),
            _class_names(data, network) if count == published["num_classes"] else None,
        )


def _has_fixed_size(timm: Any, name: str) -> bool:
    """Whether the network is built for one size of its input, such as a transformer's position embedding."""
    return bool(timm.get_pretrained_cfg(name).fixed_input_size)


def _class_names(data: Any, network: nn.Module) -> tuple[str, ...] | None:
    """Return the names of the classes if they are those of ImageNet or of a part of it."""
    subset = data.infer_imagenet_subset(network)
    if subset is None:
        return None
    info = data.ImageNetInfo(subset)
    return told_apart(info.index_to_description(index) for index in range(info.num_classes()))


def _preprocessing(config: dict[str, Any], name: str) -> Preprocessing:
    resampling = Resampling(config["interpolation"])
    if config["crop_mode"] == "center":
        return Preprocessing(crop_pct=config["crop_pct"], interpolation=resampling)
    if config["crop_mode"] == "squash":
        height, width = (int(side / config["crop_pct"]) for side in config["input_size"][1:])
        return Preprocessing(resize=(height, width), interpolation=resampling)
    raise SourceError(
        f"{name} was trained with pictures cropped by mode {config['crop_mode']!r}; give --resize"
    )
