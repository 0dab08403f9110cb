"""Answers about the service: the model, rules and colour maps."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from app.lrp.composites import CompositeDefinition, has_attention, meaning_of_signs
from app.lrp.rules import ATTENTION_RULES, AttentionRule, Rule
from app.models.card import Kind, Output
from app.models.image_card import ImageCard, Normalisation, Preprocessing
from app.models.protocol import Description
from app.models.records import Measured, MeasuredValues, TrainingRecord
from app.models.table_card import TableCard, TableInput
from app.models.text_card import TextCard, TextInput
from app.settings import Precision


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
    kind: Kind = Field(description="What it takes.")
    architecture: str
    classes: int = Field(description="How many classes it tells apart; 1 where it predicts a value.")
    input: list[int | str] = Field(
        description="Of an image: channels, height, width; of text: `T`, tokens; of a table: columns."
    )
    default: bool = Field(description="Whether it answers where no model of its kind is named.")


class AboutModels(BaseModel):
    """All models that answer here."""

    models: list[ModelEntry]
    reports: bool = Field(description="Whether there are reports of surveys at `/reports`.")


class AboutModel(BaseModel):
    """A network that answers here."""

    name: str
    version: str
    kind: Kind = Field(description="What it takes.")
    architecture: str
    layers: list[Layer]
    output: Output = Field(
        description="What it gives: scores of `classes` that exclude each other, or of `labels` that do not; or "
        "a `value`."
    )
    classes: list[str] = Field(description="Classes or labels; of a value, its name.")
    unit: str | None = Field(description="Unit of a value.")
    normalisation: Normalisation | None = Field(description="Of images; null: it takes none.")
    input_size: list[int] | None = Field(
        description="Of images: channels, height, width; null: it takes none."
    )
    preprocessing: Preprocessing | None = Field(
        description="How `fit=crop` resizes pictures, as in training, before it crops their centre; null: the "
        "largest centred part of the input's aspect ratio is resized."
    )
    text: TextInput | None = Field(description="Of text: how many tokens it takes; null: it takes none.")
    table: TableInput | None = Field(
        description="Of tables: features in their order, with units and the ranges of the training; null: it "
        "takes none."
    )
    sha256: str = Field(description="Of the weights file.")
    dropout: list[float] | None = Field(
        description="Probabilities of the dropout layers in training, in their order; null: unknown. Without any "
        "above 0 there are no samples with `sampling=dropout`."
    )
    attention: list[AttentionRule] = Field(
        description="What `attention=` may be; empty for a network without attention."
    )
    accuracy: float | None = Field(description="Share of the test inputs that it gets right, if measured.")
    mean_absolute_error: float | None = Field(description="Of a value, on test rows, if measured.")
    training: TrainingRecord | None
    device: str
    precision: Precision
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
    card = described.card
    return ModelEntry(
        name=card.name,
        version=card.version,
        kind=card.kind,
        architecture=card.architecture,
        classes=len(card.classes),
        input=list(card.input_shape[1:]),
        default=is_default,
    )


def about_model(described: Description, limits: Limits) -> AboutModel:
    """The answer of ``GET /model`` and ``GET /models/NAME``."""
    card = described.card
    of_images = card if isinstance(card, ImageCard) else None
    test = card.training.test if card.training else None
    return AboutModel(
        name=card.name,
        version=card.version,
        kind=card.kind,
        architecture=card.architecture,
        layers=[Layer.model_validate(layer, from_attributes=True) for layer in described.layers],
        output=card.output,
        classes=list(card.classes),
        unit=card.unit,
        normalisation=of_images and of_images.normalisation,
        input_size=list(of_images.input_size) if of_images else None,
        preprocessing=of_images and of_images.preprocessing,
        text=card.text if isinstance(card, TextCard) else None,
        table=card.table if isinstance(card, TableCard) else None,
        sha256=card.sha256,
        dropout=None if card.dropout is None else list(card.dropout),
        attention=list(ATTENTION_RULES) if has_attention(described.chain) else [],
        accuracy=test.accuracy if isinstance(test, Measured) else None,
        mean_absolute_error=test.mean_absolute_error if isinstance(test, MeasuredValues) else None,
        training=card.training,
        device=described.device,
        precision=described.precision,
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
