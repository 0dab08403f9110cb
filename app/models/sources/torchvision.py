"""The source ``torchvision:NAME``: architectures of torchvision, with their classes and preprocessing."""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import nn

from app.errors import SourceError
from app.modalities.image.spec import Resampling
from app.models.image_card import Normalisation, Preprocessing
from app.models.sources.image_input import ImageInput
from app.models.sources.names import meant, told_apart
from app.models.sources.protocol import SourceModel, SourceOptions
from app.models.sources.weights import built

_AS_PRETRAINED: Mapping[str, Mapping[str, bool]] = MappingProxyType(
    dict.fromkeys(
        ("googlenet", "inception_v3"), MappingProxyType({"transform_input": True, "init_weights": False})
    )
)
"""Arguments with which torchvision itself builds networks that get its weights."""
_OLD_DENSENET = re.compile(r"(.*denselayer\d+\.(?:norm|conv))\.([12]\..*)")
"""Names in torchvision's files of DenseNets, which have a dot more than its modules."""


class TorchvisionSource:
    """Networks for classification; see `app.models.sources.protocol.Source`."""

    def load(self, argument: str, options: SourceOptions) -> SourceModel:
        """Return the network ``argument``, as `torchvision.models.list_models` names it."""
        from torchvision import models  # takes a second

        known = models.list_models(module=models)
        if argument not in known:
            raise SourceError(
                f"torchvision has no network for classification {argument!r}{meant(argument, known)}"
            )
        published = _published(models.get_model_weights(argument), options.weights)
        transforms, categories = published.transforms(), told_apart(published.meta["categories"])
        (crop,), (resize,) = transforms.crop_size, transforms.resize_size
        size = options.size or (crop, crop)
        resized = {"crop_pct": crop / resize} if options.size else {"resize": resize}

        def build(count: int) -> nn.Module:
            network: nn.Module = models.get_model(
                argument,
                weights=None,
                num_classes=count,
                **_AS_PRETRAINED.get(argument, {}),
                **_sized(argument, size),
            )
            return network

        network, count = built(
            build,
            len(categories),
            options,
            f"torchvision:{argument}",
            lambda name: _OLD_DENSENET.sub(r"\1\2", name),
        )
        return SourceModel(
            network,
            argument,
            ImageInput(
                (3, *size),
                Normalisation(mean=transforms.mean, std=transforms.std),
                Preprocessing(**resized, interpolation=Resampling(transforms.interpolation.value)),
            ),
            categories if count == len(categories) else None,
        )


def _published(all_weights: Any, path: Path | None) -> Any:
    """Return what torchvision says of its weights in the file ``path``, else of the first that it published.

    Those may be trained, and pictures resized, in other ways than others of the same network.
    """
    return next(
        (one for one in all_weights if path and one.url.endswith(f"/{path.name}")), next(iter(all_weights))
    )


def _sized(name: str, size: tuple[int, int]) -> dict[str, Any]:
    """Return the argument for the size of the input, for networks that need one."""
    if name.startswith("vit_"):
        if size[0] != size[1]:
            raise SourceError(f"--size: {name} takes squares only")
        return {"image_size": size[0]}
    return {"input_size": size} if name.startswith("maxvit_") else {}
