"""Query parameters: names, ranges, defaults and words, the same for both forms of upload.

A parameter that a route does not have is refused (``extra="forbid"``), and so is one that comes twice.
"""

from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from app.api.negotiation import Format
from app.errors import InvalidParameterError
from app.heatmap import COLORMAPS, Interpolation, Normalize, Sign, Style, View, parse_size
from app.images import Fit
from app.lrp.composites import COMPOSITES, RULES
from app.lrp.seed import Start
from app.pipeline import How

REPEATABLE = frozenset({"layers"})


def one_of(names: list[str]) -> dict[str, Any]:
    """Schema that offers ``names`` for choice; what is chosen is checked where it is used."""
    return {"enum": names}


class PredictParameters(BaseModel):
    """Parameters of ``/predict``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fit: Fit = Field(
        Fit.CROP,
        description="How the picture becomes the model's 32×32: its centre square, padded to a square, or "
        "stretched.",
    )
    top_k: int | None = Field(
        None, ge=1, description="Only so many classes in `scores`, the most probable first; default all."
    )


class ExplainParameters(PredictParameters):
    """Parameters of ``/explain``."""

    rule: str = Field(
        How().rule,
        description="A composite, or a single rule for every weighted layer; `GET /rules` explains them.",
        json_schema_extra=one_of([*COMPOSITES, *RULES]),
    )
    epsilon: FiniteFloat | None = Field(
        None, description="ε, the stabilizer, from 1e-12; for rules that have it. Example: 0.01"
    )
    gamma: FiniteFloat | None = Field(
        None, ge=0, description="γ, how much positive weights are favoured; for rules that have it."
    )
    alpha: FiniteFloat | None = Field(
        None, ge=1, description="α, weight of what speaks for the class; α − β = 1."
    )
    beta: FiniteFloat | None = Field(
        None, ge=0, description="β, weight of what speaks against the class; α − β = 1."
    )
    layers: list[str] = Field(
        [],
        description="Overrides for layers by name or glob, repeatable, the last match wins: "
        "`features.0:w_square`, `features.*:gamma(gamma=0.5)`.",
    )
    target: str | None = Field(
        None,
        description="Class that is explained, by label or number: `cat` or `3`; default the predicted one.",
    )
    versus: str | None = Field(
        None, description="Contrast: relevance of `target` minus relevance of this class, as `dog`."
    )
    start: Start = Field(
        Start.ONE, description="Relevance put in at the output: 1, the target's logit or its probability."
    )
    layer: str | None = Field(
        None,
        description="The map at this layer's input, as `features.6`, instead of the pixels; "
        "`GET /model` lists layers.",
    )
    normalize: Normalize = Field(
        Normalize.SYMMETRIC,
        description="`symmetric`: zero is the middle of the colour map; `minmax`: its ends are the smallest "
        "and largest value; `absolute`: size without sign.",
    )
    vmax: FiniteFloat | None = Field(
        None,
        gt=0,
        description="Relevance that the strongest colour stands for, so that maps can be compared; "
        "default the map's own.",
    )
    sign: Sign = Field(Sign.ALL, description="Show all relevance, only what speaks for, or only against.")
    colormap: str = Field(
        Style().colormap,
        description="A name from `GET /colormaps`.",
        json_schema_extra=one_of(list(COLORMAPS)),
    )
    view: View = Field(
        View.HEATMAP,
        description="The map, the map over the upload, or picture, map and colour bar side by side.",
    )
    size: str = Field(
        "256",
        description="Side in pixels from 32 to 1024, `model` (32), or `input` (the upload's own, longest "
        "side at most 2048).",
        pattern=r"^(model|input|[0-9]{2,4})$",
    )
    interpolation: Interpolation = Field(
        Interpolation.NEAREST, description="How the map is enlarged: crisp pixels or smooth."
    )
    values: bool = Field(
        False,
        description="Add the map itself, and the pixels that the model saw, to the JSON as nested numbers.",
    )
    format: Format | None = Field(
        None, description="Form of the answer, for an address bar; overrides the Accept header."
    )

    def how(self) -> How:
        """What the pipeline is asked for; raises `InvalidParameterError`."""
        named = {"epsilon": self.epsilon, "gamma": self.gamma, "alpha": self.alpha, "beta": self.beta}
        style = Style(
            normalize=self.normalize,
            vmax=self.vmax,
            sign=self.sign,
            colormap=self.colormap,
            view=self.view,
            size=parse_size(self.size),
            interpolation=self.interpolation,
        )
        return How(
            rule=self.rule,
            parameters={name: value for name, value in named.items() if value is not None},
            layers=tuple(self.layers),
            target=self.target,
            versus=self.versus,
            start=self.start,
            layer=self.layer,
            fit=self.fit,
            style=style,
            top_k=self.top_k,
        )


def each_once(request: Request) -> None:
    """Refuse a parameter that is given twice: which one would be meant?"""
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name in seen - REPEATABLE:
            raise InvalidParameterError(name, "is given more than once; give it once")
        seen.add(name)


def none_at_all(request: Request) -> None:
    """Refuse every parameter: this address has none."""
    for name in request.query_params:
        raise InvalidParameterError(name, "no such parameter; this address has none")


EachOnce = Annotated[None, Depends(each_once)]
