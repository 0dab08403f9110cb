"""Responses as pydantic models, shared by JSON, the chunk in a PNG and the command line.

Placeholders such as ``{{name}}`` in their schemas are filled in by `app.api.placeholders`.
"""

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from app.lrp.samples import AGREEING_PERCENT, Sampling, Statistic
from app.settings import Precision

PredictionT = TypeVar("PredictionT", bound="Prediction | Value")
InputT = TypeVar("InputT", bound="Answer")


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


class Value(Answer):
    """The number that the network predicts."""

    name: str = Field(description="What it is.", examples=["strength"])
    value: float = Field(examples=[41.2])
    unit: str | None = Field(examples=["MPa"])


class PredictionOf(Answer, Generic[PredictionT, InputT]):
    """What the network predicts of one input, of any kind."""

    model: ModelReference
    prediction: PredictionT
    scores: list[Score] = Field(description="By falling probability; of a `value` there are none.")
    input: InputT
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
        description="Share of `start` that did not reach the input: absorbed by biases, ε and zero "
        "denominators. Null where `start` is under a hundredth of what was put in without regard to signs, as "
        "it may be with `versus`."
    )
    bias: float = Field(
        description="Relevance that biases, constants and stabilizers absorbed, computed on its own, not as "
        "`start` − `sum`, which it is up to rounding."
    )
    baseline: float | None = Field(
        default=None,
        description="With a `baseline`: the target's logit, or the predicted value, for it. In a network with "
        "ReLU `sum` is not the difference to it.",
        exclude_if=lambda baseline: baseline is None,
    )
    layers: list[LayerSum] = Field(
        description="From the first layer to the last; with samples, the means of their sums."
    )
    engine: str = Field(
        description="Engine that computed it: `lrpserve`, or the reference for networks that it cannot compile.",
        examples=["lrpserve"],
    )
    precision: Precision = Field(
        description="Precision of products with weights in the relevance pass, `LRP_PRECISION`; everything else "
        "is in float32."
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


class ExplanationOf(PredictionOf[PredictionT, InputT], Generic[PredictionT, InputT]):
    """An explanation of one input, of any kind, without its drawing; saved drawings contain it as metadata."""

    target: ClassReference
    versus: ClassReference | None
    rule: RuleReport
    layer: str | None = Field(description="Layer whose input is attributed; null: the network's input.")
    relevance: RelevanceReport
