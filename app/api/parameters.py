"""Query parameters: names, ranges, defaults and descriptions, the same for both forms of upload.

Parameters that a route does not have are refused (``extra="forbid"``), and so are parameters that are repeated.
Those of rules are added by `app.api.rule_parameters`; `app.api.placeholders` fills in the model.
"""

from abc import abstractmethod
from dataclasses import replace
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, create_model

from app.lrp.composites import rule_parameters
from app.lrp.overrides import MAX_OVERRIDE_LENGTH, MAX_OVERRIDES
from app.lrp.request import Start
from app.lrp.rules import AttentionRule
from app.lrp.samples import DEFAULT_NOISE, MAX_SAMPLES, MAX_SEED, MIN_SAMPLES, Sampling, Statistic
from app.modalities.drawing.colormaps import COLORMAPS
from app.modalities.drawing.style import ColourStyle, Normalize, Sign
from app.models.card import Kind
from app.serving.reports import DEFAULT_TOP_K, MANY_CLASSES
from app.serving.requests import (
    MAX_SAMPLED,
    ExplainOptions,
    samples_of,
)


def one_of(names: list[str]) -> dict[str, Any]:
    """Return the JSON Schema of one of ``names``; the value is checked where it is used."""
    return {"enum": names}


RULES_OF_MODEL = "{{*rules}}"
"""Stands in schemas for the names of all rules and composites of the model; see `app.api.placeholders`."""


MODELS = "{{*models}}"
"""Stands in schemas for the names of all models; see `app.api.placeholders`."""


def list_rules(schema: dict[str, Any]) -> None:
    """Add to ``schema`` the names of all rules and composites of the model."""
    schema |= one_of([RULES_OF_MODEL])


MAX_NAME_LENGTH = 200
"""Characters; labels of ImageNet, including their synonyms, have up to 130."""
Name = Annotated[str, Field(max_length=MAX_NAME_LENGTH)]
RuleName = Annotated[str, Field(max_length=MAX_NAME_LENGTH, json_schema_extra=list_rules)]
Override = Annotated[str, Field(max_length=MAX_OVERRIDE_LENGTH)]

TargetName = Annotated[
    Name | None,
    Field(
        examples=["{{class}}"],
        description="Class that is explained, by label or number: `{{class}}` or `{{class_index}}`; default the "
        "predicted one.",
    ),
]

AttentionName = Annotated[
    AttentionRule | None,
    Field(
        examples=["cp"],
        description="Rule of attention and of layer norms, for models that have them (`GET /models/NAME`). `cp`, "
        "the default: weights of attention and deviations are constants, and relevance goes to the values (Ali "
        "et al. 2022). `attnlrp`: half of it goes to the weights, and it passes norms unchanged (Achtibat et al. "
        "2024).",
    ),
]

FORM_OF_ANSWER = "Form of the answer, for an address bar; overrides the Accept header."


@cache
def model_parameter(kind: Kind) -> type[BaseModel]:
    """Return the parameter ``model`` of routes that use a model which takes inputs of this ``kind``."""
    models = one_of([f"{{{{*{kind}_models}}}}"])
    field = Field(
        None,
        examples=["{{name}}"],
        description="Model that answers; `GET /models` lists all. Default: `{{name}}`, which the examples and "
        "numbers here are of.",
        json_schema_extra=lambda schema: schema.update(models),
    )
    fields: Any = {"model": (Name | None, field)}
    return create_model("ModelParameter", __config__=ConfigDict(extra="forbid", frozen=True), **fields)


class ModelParameter(BaseModel):
    """The parameter of routes that describe a model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Name | None = Field(
        None,
        examples=["{{name}}"],
        description="Model that is described; `GET /models` lists all. Default: `{{name}}`.",
        json_schema_extra=lambda schema: schema.update(one_of([MODELS])),
    )


class ScoreParameters(BaseModel):
    """Parameters of endpoints that respond with scores, of any kind of input."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    top_k: int | None = Field(
        None,
        ge=1,
        examples=[3],
        description="Only so many classes in `scores`, the most probable first; default all, or "
        f"{DEFAULT_TOP_K} of more than {MANY_CLASSES}.",
    )

    @property
    def form(self) -> str | None:
        """Form of the answer that ``format`` names."""
        form: str | None = getattr(self, "format", None)
        return form

    @abstractmethod
    def input_options(self) -> Any:
        """Return the options of the kind of input; raises `InvalidParameterError`."""


class ExplanationParameters(ScoreParameters):
    """Parameters of endpoints that respond with explanations of any kind of input.

    `app.api.rule_parameters` adds those of rules.
    """

    layers: list[Override] = Field(
        [],
        max_length=MAX_OVERRIDES,
        examples=[["{{first_layer}}:w_square"]],
        description="Overrides for layers by name or glob, repeatable, the last match wins: "
        "`{{first_layer}}:w_square`, `{{layers}}:gamma(gamma=0.5)`.",
    )
    attention: AttentionName = None
    start: Start | None = Field(
        None,
        examples=["logit"],
        description="Relevance put in at the output: 1, the target's logit or its probability; default: `one`; "
        "with `versus`: `logit`. Where the rule of the output layer divides by the logit (`zero`, `epsilon`, "
        "`gamma`, all composites), `one` and `probability` have the logit's sign, so that red speaks for the "
        "class. Under other rules there, red speaks for it with `one` and `probability`; `GET /rules` says so.",
    )
    layer: Name | None = Field(
        None,
        examples=["{{layer}}"],
        description="The map at this layer's input, as `{{layer}}`, instead of the network's input; "
        "`GET /model` lists layers.",
    )
    normalize: Normalize = Field(
        Normalize.SYMMETRIC,
        examples=["absolute"],
        description="`symmetric`: zero is the middle of the colour map; `minmax`: its ends are the smallest "
        "and largest value; `absolute`: size without sign.",
    )
    vmax: FiniteFloat | None = Field(
        None,
        gt=0,
        examples=[0.01],
        description="Relevance that the strongest colour stands for, so that maps can be compared; "
        "default the map's own.",
    )
    sign: Sign = Field(
        Sign.ALL,
        examples=["positive"],
        description="Show all relevance, only what speaks for, or only against.",
    )
    colormap: Name = Field(
        ColourStyle().colormap,
        examples=["vik"],
        description="A name from `GET /colormaps`.",
        json_schema_extra=one_of(list(COLORMAPS)),
    )
    values: bool = Field(
        False,
        examples=[True],
        description="Add the map itself to the JSON as nested numbers; of a picture, also the pixels "
        "that the model saw.",
    )
    verify: bool = Field(
        False,
        examples=[True],
        description="Compute it again with the reference engine, Zennit, and report the difference; slow. With "
        "`samples`, of the same samples.",
    )
    samples: int | None = Field(
        None,
        ge=MIN_SAMPLES,
        le=MAX_SAMPLES,
        examples=[32],
        description="Explain so many samples, with dropout or with noise on the input, and return a statistic of "
        f"their maps, how much they differ, and the uncertainty of the prediction. At most {MAX_SAMPLED} for all "
        "explanations of a request. Each takes a place in the queue.",
    )
    sampling: Sampling | None = Field(
        None,
        examples=["noise"],
        description="With `samples`: `dropout` with the probabilities of the training, or Gaussian `noise` on "
        "the input; default `dropout`.",
    )
    noise: FiniteFloat | None = Field(
        None,
        gt=0,
        le=1,
        examples=[0.05],
        description="With `sampling=noise`: its standard deviation as a share of the input's range, black to "
        f"white; default {DEFAULT_NOISE}.",
    )
    seed: int | None = Field(
        None,
        ge=0,
        le=MAX_SEED,
        examples=[1],
        description="With `samples`: seed of the random numbers, which depend on nothing else; default 0.",
    )
    statistic: Statistic | None = Field(
        None,
        examples=["std"],
        description="With `samples`: the map that is drawn and returned: mean, standard deviation, 5th or 95th "
        "percentile of each value; default `mean`.",
    )

    def rule_parameters(self) -> dict[str, float]:
        """Return the parameters of rules that are given, by name."""
        given = {parameter.name: getattr(self, parameter.name) for parameter in rule_parameters()}
        return {name: value for name, value in given.items() if value is not None}

    def colour_style(self) -> ColourStyle:
        """Return how relevance becomes colours; raises `InvalidParameterError`."""
        return ColourStyle(normalize=self.normalize, vmax=self.vmax, sign=self.sign, colormap=self.colormap)

    def common(self) -> ExplainOptions:
        """Return the options except rule and target; raises `InvalidParameterError`."""
        return ExplainOptions(
            parameters=self.rule_parameters(),
            layers=tuple(self.layers),
            attention=self.attention,
            start=self.start,
            layer=self.layer,
            input=self.input_options(),
            top_k=self.top_k,
            verify=self.verify,
            samples=samples_of(self.samples, self.sampling, self.noise, self.seed, self.statistic),
        )


class SingleParameters(ExplanationParameters):
    """Parameters of endpoints that return one explanation for each input."""

    rule: RuleName = Field(
        ExplainOptions().rule,
        examples=["gamma"],
        description="A composite, or a single rule for every weighted layer; `GET /rules` explains them.",
    )
    target: TargetName = None
    versus: Name | None = Field(
        None,
        examples=["{{other_class}}"],
        description="Contrast: relevance of `target` minus relevance of this class, as `{{other_class}}`. "
        "`start` is then `logit` by default, so that the map explains the difference of the two logits.",
    )

    def options(self) -> ExplainOptions:
        """Return the options of an explanation; raises `InvalidParameterError`."""
        return replace(self.common(), rule=self.rule, target=self.target, versus=self.versus)
