"""Answers about the service: the model, rules and colour maps."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from app.lrp.composites import CompositeDefinition, has_attention, meaning_of_signs
from app.lrp.rules import ATTENTION_RULES, AttentionRule, Rule
from app.models.image_card import Normalisation, Preprocessing, image_card
from app.models.protocol import Description
from app.models.records import TrainingRecord


class Layer(BaseModel):
    """One layer of the network."""

    name: str = Field(examples=["{{first_layer}}"])
    kind: str = Field(examples=["{{first_layer_kind}}"])
    description: str = Field(examples=["{{first_layer_description}}"])


class Limits(BaseModel):
    """What the service takes."""

    max_body_bytes: int
    max_pixels: int
    max_pictures: int


class ModelEntry(BaseModel):
    """One of the models that answer here."""

    name: str = Field(examples=["{{name}}"])
    version: str = Field(examples=["{{version}}"])
    kind: Literal["image"] = Field(description="What it takes.")
    architecture: str
    classes: int = Field(description="How many classes it tells apart.")
    input: list[int] = Field(description="Channels, height, width.")
    default: bool = Field(description="Whether it answers where no model is named.")


class AboutModels(BaseModel):
    """All models that answer here."""

    models: list[ModelEntry]


class AboutModel(BaseModel):
    """A network that answers here."""

    name: str
    version: str
    architecture: str
    layers: list[Layer]
    classes: list[str]
    normalisation: Normalisation
    input_size: list[int] = Field(description="Channels, height, width.")
    preprocessing: Preprocessing | None = Field(
        description="How `fit=crop` resizes pictures, as in training, before it crops their centre; null: the "
        "largest centred part of the input's aspect ratio is resized."
    )
    sha256: str = Field(description="Of the weights file.")
    dropout: list[float] | None = Field(
        description="Probabilities of the dropout layers in training, in their order; null: unknown. Without any "
        "above 0 there are no samples with `sampling=dropout`."
    )
    attention: list[AttentionRule] = Field(
        description="What `attention=` may be; empty for a network without attention."
    )
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
    meaning: str = Field(
        description="What red and blue, positive and negative relevance, mean, and for which `start`, where the "
        "output layer's rule is not overridden."
    )
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


def model_entry(described: Description, is_default: bool) -> ModelEntry:
    """One entry of ``GET /models``."""
    card = image_card(described.card)
    return ModelEntry(
        name=card.name,
        version=card.version,
        kind="image",
        architecture=card.architecture,
        classes=len(card.classes),
        input=list(card.input_size),
        default=is_default,
    )


def about_model(described: Description, limits: Limits) -> AboutModel:
    """The answer of ``GET /model`` and ``GET /models/NAME``."""
    card = image_card(described.card)
    test = card.training.test if card.training else None
    return AboutModel(
        name=card.name,
        version=card.version,
        architecture=card.architecture,
        layers=[Layer.model_validate(layer, from_attributes=True) for layer in described.layers],
        classes=list(card.classes),
        normalisation=card.normalisation,
        input_size=list(card.input_size),
        preprocessing=card.preprocessing,
        sha256=card.sha256,
        dropout=None if card.dropout is None else list(card.dropout),
        attention=list(ATTENTION_RULES) if has_attention(described.chain) else [],
        accuracy=test.accuracy if test else None,
        training=card.training,
        device=described.device,
        limits=limits,
    )


def about_rule(kind: Literal["composite", "rule"], info: Rule | CompositeDefinition) -> AboutRule:
    """One entry of ``GET /rules``."""
    fields: dict[str, Any] = {
        name: getattr(info, name) for name in ("name", "title", "formula", "when", "source")
    }
    parameters = [
        AboutParameter.model_validate(parameter, from_attributes=True) for parameter in info.parameters
    ]
    return AboutRule(kind=kind, parameters=parameters, meaning=meaning_of_signs(info), **fields)
