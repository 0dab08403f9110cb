"""What there is: ``GET /model``, ``GET /rules``, ``GET /colormaps``, ``GET /metrics``."""

from typing import Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

from app.api.openapi import problems
from app.api.parameters import none_at_all
from app.lrp.composites import COMPOSITES, RULES, CompositeInfo, RuleInfo
from app.modalities.image.heatmap import colormaps, legend
from app.models.card import Normalisation, TrainingRecord
from app.models.protocol import Description
from app.telemetry.metrics import Metrics

COUNTED = "lrpserve_batch_size_count 17.0"
router = APIRouter(tags=["about"], dependencies=[Depends(none_at_all)], responses=problems(422))


class Layer(BaseModel):
    """One layer of the network."""

    name: str = Field(examples=["features.0"])
    kind: str = Field(examples=["Conv2d"])
    description: str = Field(examples=["Conv2d(3, 32, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))"])


class Limits(BaseModel):
    """What the service takes."""

    max_body_bytes: int
    max_pixels: int
    max_pictures: int


class AboutModel(BaseModel):
    """The network that answers here."""

    name: str
    version: str
    architecture: str
    layers: list[Layer]
    classes: list[str]
    normalisation: Normalisation
    input_size: list[int] = Field(description="Channels, height, width.")
    sha256: str = Field(description="Of the weights file.")
    accuracy: float | None = Field(description="Share of the test pictures that it gets right, if measured.")
    training: TrainingRecord | None
    device: str
    limits: Limits


class AboutParameter(BaseModel):
    """One parameter of a rule."""

    name: str
    default: float
    minimum: float | None
    maximum: float | None
    exclusive_minimum: bool
    description: str


class AboutRule(BaseModel):
    """One rule or composite."""

    name: str
    kind: Literal["composite", "rule"]
    title: str
    formula: str
    parameters: list[AboutParameter]
    when: str
    source: str


class AboutColormap(BaseModel):
    """One colour map."""

    name: str
    kind: str
    colour_blind_safe: bool
    description: str
    colours: list[str] = Field(
        description="From its lower end to its upper, evenly spaced: to draw a legend with."
    )


@router.get("/model", summary="The network, its classes, accuracy and limits")
async def model(request: Request) -> AboutModel:
    """Everything one must know to reproduce an answer with the weights alone."""
    about: AboutModel = request.state.about_model
    return about


@router.get("/rules", summary="The rules and composites, with formulas")
async def rules() -> list[AboutRule]:
    """What `rule=` may be, which parameters each takes, and when to use it."""
    return [
        *(_about_rule("composite", info) for info in COMPOSITES.values()),
        *(_about_rule("rule", info) for info in RULES.values()),
    ]


@router.get("/colormaps", summary="The colour maps")
async def colour_maps() -> list[AboutColormap]:
    """What `colormap=` may be."""
    return [
        AboutColormap(
            name=info.name,
            kind=info.kind,
            colour_blind_safe=info.colour_blind_safe,
            description=info.description,
            colours=legend(info),
        )
        for info in colormaps()
    ]


@router.get(
    "/metrics",
    summary="Counters for Prometheus",
    response_class=PlainTextResponse,
    responses={
        200: {
            "content": {
                "text/plain": {"example": COUNTED},
                "application/openmetrics-text": {
                    "schema": {"type": "string"},
                    "example": f"{COUNTED}\n# EOF",
                },
            }
        }
    },
)
async def metrics(request: Request) -> Response:
    """Requests, stage durations, batch sizes, the queue, refusals and leaks, in Prometheus' text format; or as
    OpenMetrics, where the `Accept` header asks for `application/openmetrics-text`.
    """
    counted: Metrics = request.state.metrics
    content, media_type = counted.exposed(request.headers.get("accept", ""))
    return Response(content, media_type=media_type)


def about_model(described: Description, limits: Limits) -> AboutModel:
    """The answer of ``GET /model``."""
    card = described.card
    test = card.training.test if card.training else None
    return AboutModel(
        name=card.name,
        version=card.version,
        architecture=card.architecture,
        layers=[Layer.model_validate(layer, from_attributes=True) for layer in described.layers],
        classes=list(card.classes),
        normalisation=card.normalisation,
        input_size=list(card.input_size),
        sha256=card.sha256,
        accuracy=test.accuracy if test else None,
        training=card.training,
        device=described.device,
        limits=limits,
    )


def _about_rule(kind: Literal["composite", "rule"], info: RuleInfo | CompositeInfo) -> AboutRule:
    fields: dict[str, Any] = {
        name: getattr(info, name) for name in ("name", "title", "formula", "when", "source")
    }
    parameters = [
        AboutParameter.model_validate(parameter, from_attributes=True) for parameter in info.parameters
    ]
    return AboutRule(kind=kind, parameters=parameters, **fields)
