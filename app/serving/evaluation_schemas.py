"""Responses of evaluations as pydantic models.

Placeholders in their schemas are filled in as those of `app.serving.schemas`.
"""

from pydantic import Field

from app.quality.perturbation import Replacement
from app.serving.schemas import Answer, PredictAnswer, RuleReport, Score


class CurvesReport(Answer):
    """The target's probability after each flip, from the first patch to the last."""

    most_relevant_first: list[float]
    least_relevant_first: list[float]


class OrderReport(Answer):
    """An order of the patches that the rules are compared with."""

    curves: CurvesReport
    gap: float = Field(
        description="Mean of `least_relevant_first` minus `most_relevant_first` over the first half of the "
        "flips.",
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
        description="Fewest most relevant patches whose removal changes the predicted class; null: none does.",
        examples=[7],
    )
    sensitivity: float | None = Field(
        description="Max-sensitivity (Yeh et al. 2019): largest ‖R(x′) − R(x)‖ / ‖R(x)‖ of ten random x′ that "
        "differ by at most 0.02 of the pixels' range and keep the class; null where none keeps it.",
        examples=[0.21],
    )
    randomization: list[LayerSimilarity] = Field(
        description="Parameter randomisation (Adebayo et al. 2018), from the output layer down, layers above "
        "staying random. Rules with non-negative weights, such as `z_plus` and composites that use it, hardly "
        "react (Sixt et al. 2020): there, a high similarity is a property of the rule."
    )
    sparseness: float = Field(
        description="Gini index of the map's magnitudes: 0 even, near 1 concentrated in few pixels.",
        examples=[0.56],
    )
    leak: float | None = Field(description="As `relevance.leak` of `/explain`.", examples=[0.02])


class EvaluateAnswer(PredictAnswer):
    """How good the explanations of one picture are."""

    target: Score = Field(description="The class that is explained, whose probability the curves follow.")
    patch: int = Field(description="Side of a patch in pixels of the model's input.", examples=[4])
    patches: int = Field(description="Number of patches, which is the length of the curves.", examples=[64])
    replacement: Replacement = Field(description="What a flipped patch is replaced by.")
    evaluations: list[RuleEvaluationReport] = Field(description="Rule by rule, in the order asked for.")
    random: OrderReport = Field(
        description="A random order of the patches, the same for the same picture. Its gap is 0 on average over "
        "pictures; that of one picture says how much chance can do."
    )
    occlusion: OrderReport = Field(
        description="The order by how far the probability falls when one patch alone is replaced: the ceiling, "
        "at one forward pass a patch."
    )
