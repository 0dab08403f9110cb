"""Query parameters of the endpoints that take pictures."""

from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from app.api.parameters import FORM_OF_ANSWER, ExplanationParameters, ScoreParameters, SingleParameters
from app.api.parameters_of_several import ComparisonParameters, EvaluationParameters, JsonOrPng
from app.errors import InvalidParameterError
from app.modalities.image.drawing.layout import LARGEST_TILE, MAX_INPUT_SIDE
from app.modalities.image.drawing.style import (
    LARGEST,
    SMALLEST,
    AtLeast,
    Interpolation,
    Style,
    View,
    parse_size,
)
from app.modalities.image.fitting import Fit
from app.modalities.image.modality import ImageOptions
from app.quality.perturbation import Replacement
from app.serving.requests import CompareOptions, EvaluateOptions

DEFAULT_SIDE = 256
"""Smallest side in pixels of a map whose size is not given."""
SIDE_OF_SEVERAL = 128
"""Smallest side in pixels of each map of a comparison whose size is not given."""


def sides(*names: str) -> dict[str, Any]:
    """Return the JSON Schema of a side in pixels or one of ``names``; the value is checked where it is used."""
    return {"pattern": f"^({'|'.join(names)}|[0-9]{{2,4}})$"}


class PredictParameters(ScoreParameters):
    """Parameters of ``/predict``."""

    fit: Fit = Field(
        Fit.CROP,
        examples=["pad"],
        description="How the picture becomes the model's {{input_size}}. `crop`: its largest centred part of "
        "that shape, or what the model's `preprocessing` (`GET /model`) keeps. `pad`: all of it, padded to that "
        "shape. `stretch`: all of it, stretched.",
    )

    def input_options(self) -> ImageOptions:
        """Return how pictures are decoded."""
        return ImageOptions(self.fit)


class MapParameters(ExplanationParameters, PredictParameters):
    """Parameters of endpoints that respond with heatmaps."""

    default_side: ClassVar[int] = DEFAULT_SIDE

    size: Annotated[str, Field(json_schema_extra=sides("model", "input"))] | None = Field(
        None,
        examples=["input"],
        description=f"Longest side in pixels from {SMALLEST} to {LARGEST}, "
        f"`model` ({{{{input_size}}}}), or `input` (the upload's own, at most {MAX_INPUT_SIDE}). Default: the "
        f"smallest multiple of the model's longest side from {DEFAULT_SIDE} on.",
    )
    interpolation: Interpolation = Field(
        Interpolation.NEAREST,
        examples=["bicubic"],
        description="How the map is enlarged: crisp pixels or smooth. A map that is drawn smaller than it is, is "
        "averaged.",
    )

    def style(self, view: View = View.HEATMAP) -> Style:
        """Return how maps are drawn; raises `InvalidParameterError`."""
        return Style(
            normalize=self.normalize,
            vmax=self.vmax,
            sign=self.sign,
            colormap=self.colormap,
            view=view,
            size=AtLeast(self.default_side) if self.size is None else parse_size(self.size),
            interpolation=self.interpolation,
        )

    def input_options(self) -> ImageOptions:
        """Return how pictures are decoded and drawn; raises `InvalidParameterError`."""
        return ImageOptions(self.fit, self.style())


class _SingleMapParameters(SingleParameters, MapParameters):
    view: View = Field(
        View.HEATMAP,
        examples=["side_by_side"],
        description="The map, the map over the upload, or picture, map and colour bar side by side.",
    )

    def input_options(self) -> ImageOptions:
        """See `MapParameters`."""
        return ImageOptions(self.fit, self.style(self.view))


class ExplainParameters(_SingleMapParameters):
    """Parameters of ``/explain``."""

    format: Literal["json", "png", "npy"] | None = Field(
        None,
        examples=["png"],
        description=FORM_OF_ANSWER,
    )


class BatchParameters(_SingleMapParameters):
    """Parameters of ``/explain/batch``."""

    format: Literal["json", "zip"] | None = Field(
        None,
        examples=["zip"],
        description=FORM_OF_ANSWER,
    )


class EvaluateParameters(EvaluationParameters, PredictParameters):
    """Parameters of ``/evaluate``."""

    patch: int | None = Field(
        None,
        ge=1,
        examples=[4],
        description="Side of the patches that are replaced, in pixels of the model's {{input_size}}, which it "
        "must divide; default an eighth of the shorter side, or the next smaller divisor.",
    )
    replacement: Replacement = Field(
        Replacement.MEAN,
        examples=["blur"],
        description="What patches are replaced by: the mean colour of the training pictures, or the picture "
        "itself, blurred until a patch is not seen in it.",
    )
    format: JsonOrPng = None

    def options(self) -> EvaluateOptions:
        """Return the options of an evaluation."""
        return replace(super().options(), patch=self.patch, replacement=self.replacement)


class CompareParameters(ComparisonParameters, MapParameters):
    """Parameters of ``/compare``."""

    default_side: ClassVar[int] = SIDE_OF_SEVERAL
    size: Annotated[str, Field(json_schema_extra=sides("model"))] | None = Field(
        None,
        examples=["model"],
        description=f"Longest side of each map in pixels from {SMALLEST} to {LARGEST}, "
        f"or `model` ({{{{input_size}}}}); on the sheet at most {LARGEST_TILE}, or `model` if that is larger. "
        f"Default: the smallest multiple of the model's longest side from {SIDE_OF_SEVERAL} on.",
    )
    format: JsonOrPng = None

    def comparison(self) -> CompareOptions:
        """Return the options of a comparison; raises `InvalidParameterError`."""
        if self.size == "input":
            raise InvalidParameterError("size", "input is for one map; give model or a side in pixels")
        return super().comparison()
