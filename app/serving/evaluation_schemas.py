"""Responses of evaluations as pydantic models.

Placeholders in their schemas are filled in as those of `app.serving.schemas`.
"""

from abc import abstractmethod
from typing import ClassVar, Generic

from pydantic import Field

from app.quality.perturbation import Replacement
from app.serving.kinds.image_schemas import InputReport
from app.serving.kinds.table_schemas import RowReport
from app.serving.kinds.text_schemas import TextReport
from app.serving.schemas import (
    Answer,
    InputT,
    Prediction,
    PredictionOf,
    PredictionT,
    RuleReport,
    Score,
    Value,
)


class CurvesReport(Answer):
    """The target's probability, or the predicted value, after each removal, from the first part to the last.

    Parts are patches of a picture, words of a text or features of a row.
    """

    most_relevant_first: list[float]
    least_relevant_first: list[float]


class OrderReport(Answer):
    """An order of the parts that the rules are compared with."""

    curves: CurvesReport
    gap: float = Field(
        description="Mean of `least_relevant_first` minus `most_relevant_first` over the first half of the "
        "removals.",
        examples=[0.49],
    )


class LayerSimilarity(Answer):
    """Similarity of a map with that of a network whose upper layers are random."""

    layer: str = Field(description="Lowest layer that is random.", examples=["{{first_layer}}"])
    similarity: float | None = Field(
        description="Spearman's rank correlation of the two maps, channels summed; null where one is constant.",
        examples=[0.31],
    )


class RuleEvaluationReport(OrderReport):
    """How good the map of one rule is; see `docs/evaluation.md`."""

    rule: RuleReport
    flips_after: int | None = Field(
        description="Fewest most relevant parts whose removal changes the predicted class, or whether a label "
        "applies; null: none does, or a value is predicted.",
        examples=[7],
    )
    sensitivity: float | None = Field(
        description="Max-sensitivity (Yeh et al. 2019): largest ‖R(x′) − R(x)‖ / ‖R(x)‖ of ten random x′ that "
        "differ by at most 0.02 of the range of pixels or features and keep the class; null where none keeps it, "
        "and for texts.",
        examples=[0.21],
    )
    randomization: list[LayerSimilarity] = Field(
        description="Parameter randomisation (Adebayo et al. 2018), from the output layer down, layers above "
        "staying random. Rules with non-negative weights, such as `z_plus` and composites that use it, hardly "
        "react (Sixt et al. 2020): there, a high similarity is a property of the rule."
    )
    sparseness: float = Field(
        description="Gini index of the map's magnitudes: 0 even, near 1 concentrated in few features, words or "
        "pixels.",
        examples=[0.56],
    )
    leak: float | None = Field(description="As `relevance.leak` of `/explain`.", examples=[0.02])


class EvaluationOf(PredictionOf[PredictionT, InputT], Generic[PredictionT, InputT]):
    """How good the explanations of one input are, of any kind."""

    ceiling_name: ClassVar[str] = "leave_one_out"
    """Member with the order by what each part alone does."""

    target: Score | Value = Field(
        description="What is explained: the class whose probability the curves follow, or the predicted value."
    )
    evaluations: list[RuleEvaluationReport] = Field(description="Rule by rule, in the order asked for.")
    random: OrderReport = Field(
        description="A random order of the parts, the same for the same input. Its gap is 0 on average over "
        "inputs; that of one input says how much chance can do."
    )

    @property
    def ceiling(self) -> OrderReport:
        """The order by what each part alone does."""
        order: OrderReport = getattr(self, self.ceiling_name)
        return order

    @property
    @abstractmethod
    def removal(self) -> str:
        """What is done to the input, in words."""


class EvaluateAnswer(EvaluationOf[Prediction, InputReport]):
    """How good the explanations of one picture are."""

    ceiling_name = "occlusion"

    target: Score = Field(description="The class that is explained, whose probability the curves follow.")
    patch: int = Field(description="Side of a patch in pixels of the model's input.", examples=[4])
    patches: int = Field(description="Number of patches, which is the length of the curves.", examples=[64])
    replacement: Replacement = Field(description="What a flipped patch is replaced by.")
    occlusion: OrderReport = Field(
        description="The order by how far the probability falls when one patch alone is replaced: the ceiling, "
        "at one forward pass a patch."
    )

    @property
    def removal(self) -> str:
        """See `EvaluationOf`."""
        size = f"{self.patch} by {self.patch} pixels"
        return f"{self.patches} patches of {size} are replaced ({self.replacement})"


class EvaluateTextAnswer(EvaluationOf[Prediction | Value, TextReport]):
    """How good the explanations of one text are."""

    words: int = Field(description="Number of words, which is the length of the curves.", examples=[7])
    leave_one_out: OrderReport = Field(
        description="The order by how far the curve falls when one word alone is deleted: the ceiling, at one "
        "forward pass a word."
    )

    @property
    def removal(self) -> str:
        """See `EvaluationOf`."""
        return "1 word is deleted" if self.words == 1 else f"{self.words} words are deleted"


class EvaluateTableAnswer(EvaluationOf[Prediction | Value, RowReport]):
    """How good the explanations of one row are."""

    features: int = Field(description="Number of features, which is the length of the curves.", examples=[8])
    leave_one_out: OrderReport = Field(
        description="The order by how far the curve falls when one feature alone is set to the baseline: the "
        "ceiling, at one forward pass a feature."
    )

    @property
    def removal(self) -> str:
        """See `EvaluationOf`."""
        features = "1 feature is" if self.features == 1 else f"{self.features} features are"
        return f"{features} set to the baseline"
