"""Pictures, as the source of a network states what it takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from app.errors import SourceError
from app.modalities.image.spec import Resampling
from app.models.bounds import pixel_bounds
from app.models.image_card import InputSize, Normalisation, Preprocessing
from app.models.sources.protocol import SourceOptions

ROWS = 2
"""Random pictures for which scores are compared."""


@dataclass(frozen=True)
class ImageInput:
    """Pictures (B, channels, height, width); an `app.models.sources.protocol.SourceInput`."""

    size: InputSize
    normalisation: Normalisation | None = None
    """``None``: unknown."""
    preprocessing: Preprocessing | None = None

    @property
    def card_fields(self) -> Mapping[str, Any]:
        """See `app.models.sources.protocol.SourceInput`."""
        return {
            "kind": "image",
            "input_size": self.size,
            "normalisation": self._known_normalisation,
            "preprocessing": self.preprocessing,
        }

    @property
    def assets(self) -> Mapping[str, bytes]:
        """See `app.models.sources.protocol.SourceInput`: there are none."""
        return {}

    @property
    def bounds(self) -> tuple[Tensor, ...]:
        """See `app.models.sources.protocol.SourceInput`: black and white."""
        return pixel_bounds(self._known_normalisation)

    def with_options(self, options: SourceOptions) -> "ImageInput":
        """See `app.models.sources.protocol.SourceInput`."""
        return replace(
            self,
            normalisation=_normalisation(self.normalisation, options),
            preprocessing=_preprocessing(self.preprocessing, options),
        )

    def example(self) -> Tensor:
        """See `app.models.sources.protocol.SourceInput`."""
        return torch.zeros(1, *self.size)

    def random_batches(self) -> Sequence[Tensor]:
        """See `app.models.sources.protocol.SourceInput`; one picture is explained."""
        low, high = self.bounds
        pixels = torch.rand(ROWS, *self.size, generator=torch.Generator().manual_seed(0))
        pictures = low + pixels * (high - low)
        return pictures, pictures[:1]

    def alone(self, batch: Tensor) -> Sequence[Tensor]:
        """See `app.models.sources.protocol.SourceInput`: pictures are never padded."""
        return (batch,)

    @property
    def _known_normalisation(self) -> Normalisation:
        if self.normalisation is None:
            raise SourceError(
                "give --mean and --std, of each channel of pixels in 0…1, with which the network was trained: "
                "the source does not state them"
            )
        return self.normalisation


def _normalisation(own: Normalisation | None, options: SourceOptions) -> Normalisation | None:
    mean, std = options.mean or (own and own.mean), options.std or (own and own.std)
    if (mean is None) is not (std is None):
        raise SourceError("give both --mean and --std: the source states neither")
    return None if mean is None or std is None else Normalisation(mean=mean, std=std)


def _preprocessing(own: Preprocessing | None, options: SourceOptions) -> Preprocessing | None:
    resampling = options.interpolation or (own and own.interpolation) or Resampling.BILINEAR
    if options.resize is not None:
        return Preprocessing(resize=options.resize, interpolation=resampling)
    if own is None and options.interpolation is not None:
        raise SourceError(
            "--interpolation needs --resize here: the source does not say how pictures are resized"
        )
    return own and own.model_copy(update={"interpolation": resampling})
