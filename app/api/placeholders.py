"""Placeholders in OpenAPI, filled in with facts of the default model, and of all that are served.

Descriptions and examples of schemas, parameters and routes are written before a model is known. Where they depend
on it, they contain a placeholder such as ``{{input_size}}``; `facts` lists all of them. In a list, ``{{*rules}}``
stands for all items of that fact.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from app.api.http.problems import MAX_MESSAGE, shortened
from app.lrp.composites import definitions, weighted
from app.modalities.table.spec import Category
from app.models.card import ModelCard
from app.models.image_card import ImageCard
from app.models.protocol import Description
from app.models.table_card import TableCard

PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
KINDS = ("image", "text", "table")
ITEMS = re.compile(r"\{\{\*(\w+)\}\}")


def fill(schema: Any, values: Mapping[str, Any]) -> Any:
    """Return a copy of a JSON value in which placeholders, also in names, are replaced by ``values``.

    A string that is one placeholder becomes the value itself, which may be a number or a list.
    """
    match schema:
        case dict():
            return {str(fill(name, values)): fill(value, values) for name, value in schema.items()}
        case list():
            return [item for value in schema for item in _items(value, values)]
        case str():
            if whole := PLACEHOLDER.fullmatch(schema):
                return values[whole[1]]
            return PLACEHOLDER.sub(lambda found: str(values[found[1]]), schema)
    return schema


def _items(value: Any, values: Mapping[str, Any]) -> list[Any]:
    """Return what stands for one item of a list: the items of a fact, or the filled item."""
    if isinstance(value, str) and (items := ITEMS.fullmatch(value)):
        return list(values[items[1]])
    return [fill(value, values)]


def facts(models: Sequence[Description], default: Description) -> dict[str, Any]:
    """Return the value of each placeholder: of all models for ``models`` and ``rules``, else of ``default``.

    ``class`` and ``other_class`` are two of the classes, ``layer`` is a layer in the network's first half that
    can be drawn, with weights where one of these can be, and ``layers`` is a glob that matches the first layer.
    """
    card = default.card
    count = len(card.classes)
    index, other_index = count // 3, min(count - 1, count // 3 + max(1, count // 5))
    names = list(weighted(default.chain))
    first = next(layer for layer in default.layers if layer.name == names[0])
    drawable = [layer.name for layer in default.layers if layer.drawable]
    drawn = [name for name in names if name in drawable] or drawable
    return {
        "name": card.name,
        "models_in_words": ", ".join(one.card.name for one in models),
        "largest_size": largest_picture(models),
        "models": [one.card.name for one in models],
        **{f"{kind}_models": [one.card.name for one in models if one.card.kind == kind] for kind in KINDS},
        "rules": list(
            dict.fromkeys(rule.name for one in models for rule in definitions(one.composites, one.rules))
        ),
        "version": card.version,
        "classes": shortened(", ".join(card.classes), MAX_MESSAGE),
        "last_index": count - 1,
        "class": card.classes[index],
        "class_index": index,
        "other_class": card.classes[other_index],
        **_of_pictures(card),
        **_of_tables(card),
        "layer": drawn[len(drawn) // 3],
        "first_layer": first.name,
        "first_layer_kind": first.kind,
        "first_layer_description": first.description,
        "layers": "".join(first.name.rpartition(".")[:2]) + "*",
    }


def _of_pictures(card: ModelCard) -> dict[str, Any]:
    """Return the facts about the size of pictures; of a network that takes none, what stands in their place."""
    if not isinstance(card, ImageCard):
        return {"input_size": "input", "input_shape": [-1], "tensor_shape": "[N]"}
    channels, height, width = card.input_size
    return {
        "input_size": size_in_words(card.input_size),
        "input_shape": [-1, *card.input_size],
        "tensor_shape": f"[N, {channels}, {height}, {width}]",
    }


def _of_tables(card: ModelCard) -> dict[str, Any]:
    """Return an example of a row, as JSON and CSV; of a network that takes none, an empty one."""
    features = card.spec.features if isinstance(card, TableCard) else ()
    row = {one.name: one.categories[0] if isinstance(one, Category) else one.mean for one in features}
    return {"row": row, "csv": f"{','.join(row)}\n{','.join(map(str, row.values()))}\n"}


def largest_picture(models: Sequence[Description]) -> str:
    """Return width and height of the picture that the model sees which sees the most pixels."""
    sizes = [one.card.input_size for one in models if isinstance(one.card, ImageCard)]
    return size_in_words(max(sizes, key=lambda size: size[1] * size[2])) if sizes else "0×0"


def size_in_words(input_size: Sequence[int]) -> str:
    """Return the width and height of an input (channels, height, width)."""
    _, height, width = input_size
    return f"{width}×{height}"
