"""Recipes of all kinds of models, by name. A new kind is one row in `trainings`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from app.errors import DataError
from app.training import recipe as image
from app.training.options import TrainOptions
from app.training.run import train_images
from app.training.table import recipe as table
from app.training.table.run import train_table
from app.training.text import recipe as text
from app.training.text.run import train_text

Training = Callable[[TrainOptions], Path]
"""Trains a model, writes its folder and returns the path of its card."""


def trainings() -> dict[str, Training]:
    """Return how each recipe is trained, by the recipe's name."""
    return {
        **{name: partial(train_images, recipe) for name, recipe in image.RECIPES.items()},
        **{name: partial(train_table, recipe) for name, recipe in table.RECIPES.items()},
        **{name: partial(train_text, recipe) for name, recipe in text.RECIPES.items()},
    }


def train(recipe: str, options: TrainOptions) -> Path:
    """Train a model by the recipe of this name and return the path of its card.

    Raises `DataError` for an unknown recipe, options that do not fit it, and data that cannot be used.
    """
    known = trainings()
    if recipe not in known:
        raise DataError(f"no recipe {recipe!r}; there are {', '.join(known)}")
    return known[recipe](options)
