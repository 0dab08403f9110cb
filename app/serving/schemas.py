"""Responses as pydantic models, shared by JSON, the chunk in a PNG and the command line.

Placeholders such as ``{{name}}`` in their schemas are filled in by `app.api.placeholders`.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.lrp.samples import AGREEING_PERCENT, Sampling, Statistic


class Answer(BaseModel):
    """Base of all responses: frozen, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelReference(Answer):
    """The weights that computed the response."""

    name: str = Field(examples=["{{name}}"])
    version: str = Field(description="First 12 hex digits of the weights' SHA-256.", examples=["{{version}}"])


class Score(Answer):
    """Logit and probability of one class."""

    index: int = Field(ge=0, examples=["{{class_index}}"])
    label: str = Field(examples=["{{class}}"])
    logit: float = Field(examples=[6.31])
    probability: float = Field(ge=0, le=1, examples=[0.93])


class Uncertainty(Answer):
    """How much the samples' predictions differ (Gal and Ghahramani 2016); natural logarithms."""

    entropy: float = Field(
        ge=0, description="Of the mean of the samples' probabilities: all uncertainty.", examples=[0.41]
    )
    mutual_information: float = Field(
        ge=0,
        description="`entropy` minus the mean of the samples' entropies: how much they disagree.",
        examples=[0.03],
    )
    votes: dict[str, int] = Field(
        description="How many samples predict a class, by label, the most frequent first.",
        examples=[{"{{class}}": 31, "{{other_class}}": 1}],
    )


class Prediction(Score):
    """The most probable class, by a pass without dropout and noise."""

    uncertainty: Uncertainty | None = Field(
        default=None, description="With `samples`.", exclude_if=lambda uncertainty: uncertainty is None
    )


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


class PredictAnswer(Answer):
    """Class scores of one picture."""

    model: ModelReference
    prediction: Prediction
    scores: list[Score] = Field(description="By falling probability.")
    input: InputReport
    warnings: list[str] = Field(description="Reasons to doubt this answer; often empty.")


class ClassReference(Answer):
    """A class by index and label."""

    index: int = Field(ge=0, examples=["{{class_index}}"])
    label: str = Field(examples=["{{class}}"])


class LayerRule(Answer):
    """Rule of one layer."""

    name: str = Field(examples=["{{first_layer}}"])
    rule: str = Field(examples=["flat"])
    parameters: dict[str, float]


class RuleReport(Answer):
    """The requested rule or composite, and the rule of each layer."""

    name: str = Field(examples=["epsilon_plus_flat"])
    parameters: dict[str, float]
    layers: list[LayerRule]


class LayerSum(Answer):
    """Total relevance at the input of one layer."""

    name: str
    sum: float


class Verification(Answer):
    """Comparison with the same explanation by the reference."""

    engine: str = Field(description="Engine that computed the answer.", examples=["lrpserve"])
    reference: str = Field(description="Engine that it is compared with.", examples=["zennit 1.0.0"])
    difference: float = Field(description="‖R − R_ref‖ / ‖R_ref‖ over the map.", examples=[2.1e-7])
    largest: float = Field(description="Largest difference of a single value.", examples=[3.4e-9])


class SamplesReport(Answer):
    """The samples that the map is a statistic of, and how much they differ."""

    count: int = Field(examples=[32])
    sampling: Sampling
    noise: float | None = Field(
        default=None,
        description="With `sampling=noise`: its standard deviation as a share of the input's range.",
        exclude_if=lambda noise: noise is None,
        examples=[0.1],
    )
    seed: int
    statistic: Statistic = Field(description="Which map this is.")
    spread: float | None = Field(
        description="Mean standard deviation of the values of the map, divided by the mean magnitude of the mean "
        "map. Null for maps of zeros.",
        examples=[0.35],
    )
    sign_agreement: float | None = Field(
        description=f"Share of the mean map's magnitude that lies where {AGREEING_PERCENT} % of the samples have "
        "the same sign. Null for maps of zeros.",
        examples=[0.81],
    )


class RelevanceReport(Answer):
    """Relevance at the output, in each layer and in the map. With samples, `start` is that of all of them."""

    start: float = Field(
        description="Relevance put in at the output; with `versus`, that of `target` minus that of `versus`."
    )
    sum: float = Field(description="Sum of the map.")
    min: float = Field(description="Smallest single value of the map, channels apart.")
    max: float = Field(description="Largest single value of the map, channels apart.")
    shape: list[int] = Field(
        description="Of the map: channels, height, width; with `layer`, that of its input."
    )
    leak: float | None = Field(
        description="Share of `start` that did not reach the pixels: absorbed by biases, ε and zero "
        "denominators. Null where `start` is under a hundredth of what was put in without regard to signs, as "
        "it may be with `versus`."
    )
    layers: list[LayerSum] = Field(
        description="From the first layer to the last; with samples, the means of their sums."
    )
    engine: str = Field(
        description="Engine that computed it: `lrpserve`, or the reference for networks that it cannot compile.",
        examples=["lrpserve"],
    )
    verify: Verification | None = Field(
        default=None, description="If `verify=true`.", exclude_if=lambda verify: verify is None
    )
    samples: SamplesReport | None = Field(
        default=None, description="With `samples`.", exclude_if=lambda samples: samples is None
    )
    values: list[object] | None = Field(
        default=None,
        description="The map itself, as nested numbers, if `values=true`.",
        exclude_if=lambda values: values is None,
    )


class ExplanationReport(PredictAnswer):
    """An explanation without its picture; saved heatmaps contain it as metadata."""

    target: ClassReference
    versus: ClassReference | None
    rule: RuleReport
    layer: str | None = Field(description="Layer whose input is attributed; null: the pixels.")
    relevance: RelevanceReport


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
