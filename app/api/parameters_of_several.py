"""Query parameters of the endpoints that take several rules: ``/compare`` and ``/evaluate``."""

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from app.api.parameters import (
    FORM_OF_ANSWER,
    AttentionName,
    ExplanationParameters,
    MapParameters,
    Name,
    PredictParameters,
    RuleName,
    ScoreParameters,
    TargetName,
    sides,
)
from app.errors import InvalidParameterError
from app.lrp.request import Start
from app.modalities.image.drawing.layout import LARGEST_TILE
from app.modalities.image.drawing.style import LARGEST, SMALLEST
from app.quality.perturbation import Replacement
from app.serving.requests import MAX_COMPARED, CompareOptions, EvaluateOptions

SIDE_OF_SEVERAL = 128
"""Smallest side in pixels of each map of a comparison whose size is not given."""
JsonOrPng = Annotated[Literal["json", "png"] | None, Field(examples=["png"], description=FORM_OF_ANSWER)]


class EvaluationParameters(ScoreParameters):
    """Parameters of endpoints that evaluate explanations of one input, of any kind."""

    rule: list[RuleName] = Field(
        [],
        max_length=MAX_COMPARED,
        examples=[["epsilon_plus_flat", "gamma"]],
        description="Composites or rules, repeatable, with their default parameters; default all composites.",
    )
    attention: AttentionName = None
    target: TargetName = None

    def options(self) -> EvaluateOptions:
        """Return the options of an evaluation; raises `InvalidParameterError`."""
        return EvaluateOptions(
            rules=tuple(self.rule),
            attention=self.attention,
            target=self.target,
            input=self.input_options(),
            top_k=self.top_k,
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


class ComparisonParameters(ExplanationParameters):
    """Parameters of endpoints that compare explanations of one input, of any kind."""

    rule: list[RuleName] = Field(
        [],
        max_length=MAX_COMPARED,
        examples=[["gamma", "zero"]],
        description="Composites or rules, repeatable, each a row; default all composites. Each gets those of "
        "the given parameters that it has.",
    )
    target: list[Name] = Field(
        [],
        max_length=MAX_COMPARED,
        examples=[["{{class}}", "{{other_class}}"]],
        description="Classes, repeatable, each a column: `{{class}}`, `{{class_index}}`, or `all`; default the "
        "predicted one.",
    )
    versus: Name | None = Field(
        None,
        examples=["{{other_class}}"],
        description="Contrast: relevance of each target minus relevance of this class.",
    )
    start: Start = Field(
        Start.LOGIT,
        examples=["one"],
        description="Relevance put in at the output. The logit, else a class that the network hardly considers "
        "would get as much as the one that it chose.",
    )

    def comparison(self) -> CompareOptions:
        """Return the options of a comparison; raises `InvalidParameterError`."""
        options = replace(self.common(), versus=self.versus)
        return CompareOptions(options, tuple(self.rule), tuple(self.target))


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
