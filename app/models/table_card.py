"""The card of a network that takes rows of a table: names, units, means and ranges of its features."""

from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, FiniteFloat, field_validator, model_validator

from app.errors import RefusedToStartError
from app.lrp.graph.graph import BATCH, Shape
from app.modalities.table.spec import Category, Feature, Number, TableSpec
from app.models.card import ModelCard
from app.models.records import CardPart

FeatureName = Annotated[str, Field(min_length=1, max_length=200)]
MAX_COLUMNS = 10_000


class NumberInput(CardPart):
    """A numerical feature. ``min`` and ``max`` are the ends of its range in the training data."""

    name: FeatureName
    unit: str | None = None
    mean: FiniteFloat
    std: Annotated[FiniteFloat, Field(gt=0)]
    min: FiniteFloat
    max: FiniteFloat
    imputes: bool = Field(default=False, description="Whether the mean replaces a missing value.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError("min is larger than max")
        return self

    @property
    def spec(self) -> Number:
        """The feature, in terms of `app.modalities.table`."""
        return Number(self.name, self.unit, self.mean, self.std, self.min, self.max, self.imputes)


class CategoryInput(CardPart):
    """A categorical feature, with the share of each category in the training data."""

    name: FeatureName
    categories: Annotated[tuple[str, ...], Field(min_length=2)]
    shares: tuple[Annotated[FiniteFloat, Field(ge=0, le=1)], ...]
    imputes: bool = Field(default=False, description="Whether the shares replace a missing category.")

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        if len(set(self.categories)) < len(self.categories) or not all(self.categories):
            raise ValueError("every category needs a name of its own")
        if len(self.shares) != len(self.categories):
            raise ValueError("shares: one for each category")
        return self

    @property
    def spec(self) -> Category:
        """The feature, in terms of `app.modalities.table`."""
        return Category(self.name, self.categories, self.shares, self.imputes)


class TableInput(CardPart):
    """Features in the order of the network's columns."""

    features: Annotated[tuple[NumberInput | CategoryInput, ...], Field(min_length=1)]

    @field_validator("features")
    @classmethod
    def _told_apart(
        cls, features: tuple[NumberInput | CategoryInput, ...]
    ) -> tuple[NumberInput | CategoryInput, ...]:
        if len({feature.name for feature in features}) < len(features):
            raise ValueError("every feature needs a name of its own")
        if sum(feature.spec.columns for feature in features) > MAX_COLUMNS:
            raise ValueError(f"over {MAX_COLUMNS} columns")
        return features


class TableCard(ModelCard):
    """Card of a network that takes rows of a table."""

    meaning = frozenset({"table"})

    kind: Literal["table"]
    table: TableInput

    @property
    def spec(self) -> TableSpec:
        """The input, in terms of `app.modalities.table`."""
        return TableSpec(tuple(feature.spec for feature in self.table.features))

    @property
    def input_shape(self) -> Shape:
        """See `ModelCard`: (B, columns)."""
        return BATCH, self.spec.columns

    def example_input(self) -> npt.NDArray[np.float32]:
        """See `ModelCard`: the mean of each column, (columns,)."""
        return np.zeros(self.spec.columns, np.float32)


def table_card(card: ModelCard) -> TableCard:
    """Return ``card`` as that of a network that takes rows; raises `RefusedToStartError` for another kind."""
    if not isinstance(card, TableCard):
        raise RefusedToStartError(f"model {card.name} takes {card.kind}; this works with tables only")
    return card


def feature_input(feature: Feature) -> NumberInput | CategoryInput:
    """Return a feature as the card has it, with statistics of nine digits."""
    if isinstance(feature, Category):
        shares = tuple(map(_rounded, feature.shares))
        return CategoryInput(
            name=feature.name, categories=feature.categories, shares=shares, imputes=feature.imputes
        )
    return NumberInput(
        name=feature.name,
        unit=feature.unit,
        mean=_rounded(feature.mean),
        std=_rounded(feature.std),
        min=feature.minimum,
        max=feature.maximum,
        imputes=feature.imputes,
    )


def _rounded(value: float) -> float:
    return float(f"{value:.9g}")
