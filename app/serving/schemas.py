"""What is answered: the same objects for JSON, for the chunk in a PNG and for the command line."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """Common ground of all answers: they are written once and their fields are exact."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelReference(Answer):
    """Which weights answered."""

    name: str = Field(examples=["minivgg-cifar10"])
    version: str = Field(
        description="First 12 hex digits of the weights' SHA-256.", examples=["5f1c0a9b7d3e"]
    )


class Score(Answer):
    """One class and what the network says of it."""

    index: int = Field(ge=0, examples=[3])
    label: str = Field(examples=["cat"])
    logit: float = Field(examples=[6.31])
    probability: float = Field(ge=0, le=1, examples=[0.93])


class Crop(Answer):
    """The rectangle of the upload that the model saw, in its pixels; padding may stick out of it."""

    left: int
    top: int
    width: int
    height: int


class InputReport(Answer):
    """What arrived."""

    format: str = Field(description="Read from the bytes.", examples=["JPEG"])
    width: int = Field(description="Pixels, after EXIF orientation.", examples=[451])
    height: int = Field(examples=[300])
    crop: Crop
    pixels: list[object] | None = Field(
        default=None,
        description="What the model saw of it, as nested numbers from 0 to 255 (height, width, RGB), if "
        "`values=true`.",
        exclude_if=lambda pixels: pixels is None,
    )


class PredictAnswer(Answer):
    """Class scores of one picture."""

    model: ModelReference
    prediction: Score
    scores: list[Score] = Field(description="By falling probability.")
    input: InputReport
    warnings: list[str] = Field(description="What to know before trusting this answer; often empty.")


class ClassReference(Answer):
    """A class by number and name."""

    index: int = Field(ge=0, examples=[3])
    label: str = Field(examples=["cat"])


class LayerRule(Answer):
    """The rule that one layer got."""

    name: str = Field(examples=["features.0"])
    rule: str = Field(examples=["flat"])
    parameters: dict[str, float]


class RuleReport(Answer):
    """What was asked for, and what it meant for each layer."""

    name: str = Field(examples=["epsilon_plus_flat"])
    parameters: dict[str, float]
    layers: list[LayerRule]


class LayerSum(Answer):
    """How much relevance arrives at the input of one layer."""

    name: str
    sum: float


class Verification(Answer):
    """The same explanation, computed again by the reference."""

    engine: str = Field(description="Who computed the answer.", examples=["lrpserve"])
    reference: str = Field(description="Who computed it again.", examples=["zennit 1.0.0"])
    difference: float = Field(description="‖R − R_ref‖ / ‖R_ref‖ over the map.", examples=[2.1e-7])
    largest: float = Field(description="Largest difference of a single value.", examples=[3.4e-9])


class RelevanceReport(Answer):
    """Where the relevance went: nothing is lost silently."""

    start: float = Field(description="Relevance put in at the output.")
    sum: float = Field(description="Sum of the map.")
    min: float = Field(description="Smallest single value of the map, channels apart.")
    max: float = Field(description="Largest single value of the map, channels apart.")
    leak: float | None = Field(
        description="Share of `start` that did not reach the pixels: absorbed by biases, ε and zero "
        "denominators. Null where nothing was put in on balance, as with `versus`."
    )
    layers: list[LayerSum] = Field(description="From the first layer to the last.")
    engine: str = Field(
        description="Who computed it: our own engine, or the reference for networks that it cannot compile.",
        examples=["lrpserve"],
    )
    verify: Verification | None = Field(
        default=None, description="If `verify=true`.", exclude_if=lambda verify: verify is None
    )
    values: list[object] | None = Field(
        default=None,
        description="The map itself, as nested numbers, if `values=true`.",
        exclude_if=lambda values: values is None,
    )


class ExplanationReport(PredictAnswer):
    """An explanation without its picture: what a saved heatmap carries with it."""

    target: ClassReference
    versus: ClassReference | None
    rule: RuleReport
    layer: str | None = Field(description="The layer at whose input the map lies; null: the pixels.")
    relevance: RelevanceReport


class HeatmapReport(Answer):
    """The picture, and the scale that its colours mean."""

    media_type: Literal["image/png"]
    width: int
    height: int
    colormap: str
    vmin: float = Field(description="Relevance that the lowest colour stands for.")
    vmax: float = Field(description="Relevance that the highest colour stands for.")
    data: str = Field(description="The PNG, base64.")


class ExplainAnswer(ExplanationReport):
    """Class scores, relevance receipt and heatmap of one picture."""

    heatmap: HeatmapReport


class CompareAnswer(PredictAnswer):
    """Several explanations of one picture on one scale."""

    explanations: list[ExplainAnswer] = Field(
        description="Rule by rule in the order asked for, and for each rule target by target."
    )
    sheet: HeatmapReport = Field(description="All of them in one picture: a row for each rule.")


class BatchResult(Answer):
    """What came of one file of a batch: an explanation or a problem."""

    file: str = Field(description="Its name, as sent.", examples=["cat.jpg"])
    explanation: ExplainAnswer | None = None
    problem: dict[str, object] | None = Field(
        default=None, description="RFC 9457 problem, as a request of its own would have got."
    )


class BatchAnswer(Answer):
    """Explanations of several pictures."""

    results: list[BatchResult] = Field(description="In the order of the files.")
