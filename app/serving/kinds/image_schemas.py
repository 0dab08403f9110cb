"""Responses about pictures as pydantic models; placeholders as in `app.serving.schemas`."""

from typing import Literal

from pydantic import Field

from app.serving.schemas import Answer, ExplanationOf, Prediction, PredictionOf


class Crop(Answer):
    """Rectangle of the upload that the model saw, in whole pixels of the upload; with padding it exceeds it."""

    left: int
    top: int
    width: int
    height: int


class InputReport(Answer):
    """The uploaded picture."""

    format: str = Field(description="Read from the bytes.", examples=["JPEG"])
    width: int = Field(description="Pixels, after EXIF orientation.", examples=[451])
    height: int = Field(examples=[300])
    crop: Crop
    pixels: list[object] | None = Field(
        default=None,
        description="What the model saw of it, as nested numbers from 0 to 255 (height, width, channels), if "
        "`values=true`.",
        exclude_if=lambda pixels: pixels is None,
    )


class PredictAnswer(PredictionOf[Prediction, InputReport]):
    """Class scores of one picture."""


class ExplanationReport(ExplanationOf[Prediction, InputReport]):
    """An explanation without its picture; saved heatmaps contain it as metadata."""


class HeatmapReport(Answer):
    """The heatmap and the scale of its colours."""

    media_type: Literal["image/png"]
    width: int
    height: int
    colormap: str
    vmin: float = Field(description="Relevance that the lowest colour stands for.")
    vmax: float = Field(description="Relevance that the highest colour stands for.")
    data: str = Field(description="The PNG, base64.")


class ExplainAnswer(ExplanationReport):
    """Class scores, relevance and heatmap of one picture."""

    heatmap: HeatmapReport


class CompareAnswer(PredictAnswer):
    """Several explanations of one picture on one colour scale."""

    explanations: list[ExplainAnswer] = Field(
        description="Rule by rule in the order asked for, and for each rule target by target."
    )
    sheet: HeatmapReport = Field(description="All of them in one picture: a row for each rule.")


class BatchResult(Answer):
    """Explanation of one file of a batch, or what is wrong with it."""

    file: str = Field(description="Its name, as sent.", examples=["cat.jpg"])
    explanation: ExplainAnswer | None = None
    problem: dict[str, object] | None = Field(
        default=None, description="RFC 9457 problem, as a request with this file alone gets."
    )


class BatchAnswer(Answer):
    """Explanations of several pictures."""

    results: list[BatchResult] = Field(description="In the order of the files.")
