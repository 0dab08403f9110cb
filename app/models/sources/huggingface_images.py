"""Networks for pictures that transformers' ``save_pretrained`` wrote.

Preprocessing is read from the files, not from the classes of transformers, which resize with another library.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from app.errors import SourceError
from app.modalities.image.spec import Resampling
from app.models.image_card import Normalisation, Preprocessing
from app.models.sources.huggingface_files import labels, pretrained, read_json
from app.models.sources.image_input import ImageInput
from app.models.sources.names import imported
from app.models.sources.protocol import SourceModel, SourceOptions

PROCESSOR = "preprocessor_config.json"
_FILTERS = {0: Resampling.NEAREST, 1: Resampling.LANCZOS, 2: Resampling.BILINEAR, 3: Resampling.BICUBIC}
"""Pillow's numbers of filters."""
_UNMASKED = "sdpa_without_masks"
"""Name under which attention is registered for which transformers creates no masks: patches are never padded, and
masks that are always true would be exported with a size that depends on the batch.
"""
_CONVNEXT_STRETCHES_FROM = 384
"""Side from which on transformers' ConvNeXt resizes to the input's size instead of cropping."""


def image_model(
    folder: Path, architecture: str, config: Mapping[str, Any], options: SourceOptions
) -> SourceModel:
    """Return the network for pictures in ``folder``; raises `SourceError`."""
    processor = read_json(folder / PROCESSOR)
    size, preprocessing = read_geometry(processor, folder / PROCESSOR)
    channels: Literal[1, 3] = 1 if config.get("num_channels", 3) == 1 else 3
    pictures = ImageInput(
        (channels, *(options.size or size)),
        read_normalisation(processor, folder / PROCESSOR),
        preprocessing,
    )
    return SourceModel(_network(folder), architecture, pictures, labels(config))


def _network(folder: Path) -> nn.Module:
    """Return the network, which returns logits only."""
    transformers = imported("transformers", "huggingface")
    attention = imported("transformers.integrations.sdpa_attention", "huggingface")
    transformers.AttentionInterface.register(_UNMASKED, attention.sdpa_attention_forward)
    network = pretrained("AutoModelForImageClassification", folder, _UNMASKED)
    whole = network.forward

    def forward(pixel_values: Tensor) -> Tensor:
        logits: Tensor = whole(pixel_values=pixel_values).logits
        return logits

    network.forward = forward  # a module around it would stand in front of the name of every layer
    return network


def read_normalisation(processor: Mapping[str, Any], path: Path) -> Normalisation | None:
    """Return mean and standard deviation of pixels in 0…1; ``None`` if the processor states none."""
    if not processor.get("do_normalize", True):
        return Normalisation(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    if "image_mean" not in processor or "image_std" not in processor:
        return None
    if not math.isclose(processor.get("rescale_factor", 1 / 255), 1 / 255) or processor.get("rescale_offset"):
        raise SourceError(f"{path}: only pixels in 0…1 before the normalisation can be served")
    mean, std = tuple(processor["image_mean"]), tuple(processor["image_std"])
    if processor.get("include_top") and processor.get("image_processor_type", "").startswith("EfficientNet"):
        std = tuple(value**2 for value in std)  # it divides a second time
    return Normalisation(mean=mean, std=std)


def read_geometry(processor: Mapping[str, Any], path: Path) -> tuple[tuple[int, int], Preprocessing | None]:
    """Return height and width of the input, and how pictures are resized to it."""
    resampling = _FILTERS.get(processor.get("resample", 2))
    if resampling is None:
        raise SourceError(
            f"{path}: resample {processor['resample']} is no filter of Pillow that can be served"
        )
    size, crop = _sides(processor.get("size")), _sides(processor.get("crop_size"))
    crops = crop is not None and processor.get("do_center_crop", True)
    if size is None:
        raise SourceError(f"{path}: size must be height and width, or shortest_edge")
    if "crop_pct" in processor and not isinstance(size, tuple):  # ConvNeXt
        if size >= _CONVNEXT_STRETCHES_FROM:
            return (size, size), Preprocessing(resize=(size, size), interpolation=resampling)
        resized = int(size / processor["crop_pct"])
        return (size, size), Preprocessing(resize=resized, interpolation=resampling)
    target = crop if crops else size
    square = target if isinstance(target, tuple) else None
    if square is None:
        raise SourceError(f"{path}: pictures of one size are needed, but crop_size gives none")
    if not processor.get("do_resize", True):
        return square, None
    return square, Preprocessing(resize=size, interpolation=resampling)


def _sides(size: Any) -> int | tuple[int, int] | None:
    """Return a length of the shorter side, or height and width."""
    match size:
        case {"height": int(height), "width": int(width)}:
            return height, width
        case {"shortest_edge": int(side)}:
            return side
        case int(side):  # as transformers wrote it once
            return side, side
    return None
