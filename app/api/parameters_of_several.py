"""Query parameters of the endpoints that take several rules: ``/compare`` and ``/evaluate``."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from app.api.parameters import (
    FORM_OF_ANSWER,
    AttentionName,
    ExplanationParameters,
    Name,
    RuleName,
    ScoreParameters,
    TargetName,
)
from app.lrp.request import Start
from app.serving.requests import MAX_COMPARED, CompareOptions, EvaluateOptions

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
