"""Images as a modality: uploads are decoded and fitted to the network, relevance is drawn as heatmaps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.errors import InvalidParameterError
from app.modalities.image.decoding import decode
from app.modalities.image.drawing.backdrop import Backdrop, backdrop_of
from app.modalities.image.drawing.captions import Captions
from app.modalities.image.drawing.contact_sheet import contact_sheet
from app.modalities.image.drawing.grid import scale_of
from app.modalities.image.drawing.heatmap import Heatmap
from app.modalities.image.drawing.layout import longest_side
from app.modalities.image.drawing.render import render
from app.modalities.image.drawing.style import Style
from app.modalities.image.fitting import Fit, facts, fit_to_model
from app.modalities.image.picture import Facts
from app.modalities.image.preprocessing import from_pixels, normalise, to_input
from app.modalities.image.spec import ImageSpec
from app.modalities.protocol import Floats, Map

MAX_PIXELS_DRAWN = 2**24
"""Of all maps of a comparison together: 16 of the largest size, which take two seconds to draw."""


@dataclass(frozen=True)
class ImageOptions:
    """How a picture is fitted to the network's input, and how relevance is drawn."""

    fit: Fit = Fit.CROP
    style: Style = field(default_factory=Style)


@dataclass(frozen=True)
class ImageSample:
    """What is kept of an upload until its response: no more than is drawn, however large the upload was."""

    facts: Facts
    input: Floats
    """The network's input, (channels, height, width)."""
    pixels: npt.NDArray[np.uint8]
    """What the network sees, (height, width, 3), or (height, width) in greyscale."""
    backdrop: Backdrop
    baseline: None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """See `app.modalities.protocol.Sample`."""
        return self.facts.warnings


class ImageModality:
    """Decodes pictures for a network with this input ``spec``, and draws its relevance; a `Modality`."""

    def __init__(self, spec: ImageSpec, max_pixels: int) -> None:
        """``max_pixels`` bounds the pixels of an upload."""
        self._spec = spec
        self._max_pixels = max_pixels

    def decode(self, data: bytes | Floats, options: ImageOptions) -> ImageSample:
        """Decode a picture file, or take pixels in 0…1, (channels, height, width).

        Raises what `app.modalities.image.decoding.decode` raises.
        """
        picture = from_pixels(data) if isinstance(data, np.ndarray) else decode(data, self._max_pixels)
        if isinstance(data, np.ndarray):  # the network's input: neither cropped nor rounded to 8 bits
            fitted = fit_to_model(picture, Fit.STRETCH, self._spec)
            values = normalise(data, self._spec)
        else:
            fitted = fit_to_model(picture, options.fit, self._spec)
            values = to_input(fitted.image, self._spec)
        backdrop = backdrop_of(picture, options.style, self._spec)
        return ImageSample(facts(picture, fitted), values, np.asarray(fitted.image), backdrop)

    def render(self, maps: Sequence[Map], sample: ImageSample, options: ImageOptions) -> list[Heatmap]:
        """Draw each of ``maps`` as a heatmap, all on one scale.

        Raises `InvalidParameterError` for more pixels than are drawn at once, and for a view that a layer's
        relevance does not have.
        """
        _check_pixels(len(maps), longest_side(options.style, sample.backdrop.size, self._spec.longest_side))
        scale = scale_of([one.relevance for one in maps], options.style)
        return [
            render(
                one.relevance,
                options.style,
                sample.backdrop,
                sample.facts.rectangle,
                one.metadata,
                Captions(one.prediction, one.question),
                scale,
            )
            for one in maps
        ]

    def render_together(
        self, maps: Sequence[Map], sample: ImageSample, options: ImageOptions, metadata: Mapping[str, Any]
    ) -> Heatmap:
        """Draw ``maps`` as a contact sheet on one scale: a row for each rule, a column for each question."""
        rows: dict[str, list[Map]] = {}
        for one in maps:
            rows.setdefault(one.rule, []).append(one)
        return contact_sheet(
            {rule: [one.relevance for one in row] for rule, row in rows.items()},
            [one.question for one in next(iter(rows.values()))],
            options.style,
            scale_of([one.relevance for one in maps], options.style),
            Image.fromarray(sample.pixels),
            metadata,
        )


def _check_pixels(count: int, side: int) -> None:
    if count * side**2 > MAX_PIXELS_DRAWN:
        raise InvalidParameterError(
            "size",
            f"{count} maps of {side} pixels are more than is drawn at once; compare fewer, or ask for "
            f"{math.isqrt(MAX_PIXELS_DRAWN // count)}",
        )
