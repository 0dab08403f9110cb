"""The card of a network that takes images: size, normalisation and preprocessing of its input."""

from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, FiniteFloat, PositiveInt, model_validator

from app.errors import RefusedToStartError
from app.lrp.graph.graph import BATCH, Shape
from app.modalities.image.spec import ImageSpec, Resampling, TrainedResize
from app.models.card import ModelCard
from app.models.records import CardPart

MAX_SIDE = 2048
"""Longest side in pixels to which a picture is resized before it is cropped."""
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Deviation = Annotated[FiniteFloat, Field(gt=0)]
InputSize = tuple[Literal[1, 3], PositiveInt, PositiveInt]
"""Channels (greyscale or RGB), height, width."""
DEFAULT_INPUT_SIZE: InputSize = (3, 32, 32)
"""Input size of a card that states none."""


class Normalisation(CardPart):
    """Mean and standard deviation of each channel, of pixels in 0…1."""

    mean: Annotated[tuple[FiniteFloat, ...], Field(min_length=1, max_length=3)]
    std: Annotated[tuple[Deviation, ...], Field(min_length=1, max_length=3)]


class Preprocessing(CardPart):
    """How pictures were resized for the network; then their centre was cropped to the input size.

    The values are those of torchvision's ``Resize`` and ``CenterCrop`` on Pillow images, which antialias. One of
    ``resize`` and ``crop_pct`` is given.
    """

    resize: Side | Annotated[tuple[Side, ...], Field(min_length=2, max_length=2)] | None = Field(
        default=None,
        description="Length of the shorter side in pixels; or height and width to which a picture is stretched.",
    )
    crop_pct: Annotated[FiniteFloat, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="Instead of `resize`: the input's sides over those that a picture is resized to cover, which "
        "are rounded down, as timm's `crop_pct`.",
    )
    interpolation: Resampling = Field(description="Pillow's filter.")

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if (self.resize is None) == (self.crop_pct is None):
            raise ValueError("give either resize or crop_pct")
        return self

    def trained_resize(self, height: int, width: int) -> TrainedResize:
        """Return what pictures are resized to for an input of this size."""
        if isinstance(self.resize, int):
            return TrainedResize(self.resize, self.resize, True, self.interpolation)
        if self.resize is not None:
            return TrainedResize(self.resize[1], self.resize[0], False, self.interpolation)
        share = self.crop_pct or 1.0
        return TrainedResize(int(width / share), int(height / share), True, self.interpolation)


class ImageCard(ModelCard):
    """Card of a network that takes images."""

    meaning = frozenset({"input_size", "normalisation", "preprocessing"})

    kind: Literal["image"] = "image"
    normalisation: Normalisation
    input_size: InputSize = DEFAULT_INPUT_SIZE
    preprocessing: Preprocessing | None = Field(
        default=None,
        description="Null: the largest centred part of the input's aspect ratio, resized by Lanczos's filter.",
    )

    @model_validator(mode="after")
    def _one_mean_per_channel(self) -> Self:
        channels = self.input_size[0]
        if not len(self.normalisation.mean) == len(self.normalisation.std) == channels:
            raise ValueError(f"normalisation needs a mean and a std for each of {channels} channels")
        return self

    @model_validator(mode="after")
    def _resized_to_no_less_than_the_input(self) -> Self:
        if self.preprocessing is not None:
            _, height, width = self.input_size
            resize = self.preprocessing.trained_resize(height, width)
            if not (height <= resize.height <= MAX_SIDE and width <= resize.width <= MAX_SIDE):
                raise ValueError(
                    f"preprocessing resizes pictures to {resize.width}×{resize.height}, from which the input's "
                    f"{width}×{height} are cropped; it must be as large, and at most {MAX_SIDE} a side"
                )
        return self

    @property
    def input_shape(self) -> Shape:
        """See `ModelCard`: (B, channels, height, width)."""
        return BATCH, *self.input_size

    @property
    def spec(self) -> ImageSpec:
        """The input, in terms of `app.modalities.image`."""
        channels, height, width = self.input_size
        resize = None if self.preprocessing is None else self.preprocessing.trained_resize(height, width)
        return ImageSpec(channels, height, width, self.normalisation.mean, self.normalisation.std, resize)

    def example_input(self) -> npt.NDArray[np.float32]:
        """See `ModelCard`: noise, (channels, height, width)."""
        return np.random.default_rng(0).standard_normal(self.input_size, np.float32)


def image_card(card: ModelCard) -> ImageCard:
    """Return ``card`` as that of a network that takes images; raises `RefusedToStartError` for another kind."""
    if not isinstance(card, ImageCard):
        raise RefusedToStartError(f"model {card.name} takes {card.kind}; this works with images only")
    return card
