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
from app.models.image_card import image_card
from app.models.protocol import Description

PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
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

    ``class`` and ``other_class`` are two of the classes, ``layer`` is a layer with weights in the network's first
    half, and ``layers`` is a glob that matches the first layer.
    """
    card = image_card(default.card)
    channels, height, width = card.input_size
    count = len(card.classes)
    index, other_index = count // 3, count // 3 + max(1, count // 5)
    names = list(weighted(default.chain))
    first = next(layer for layer in default.layers if layer.name == names[0])
    return {
        "name": card.name,
        "models_in_words": " and ".join(one.card.name for one in models),
        "largest_size": size_in_words(largest_input(models)),
        "models": [one.card.name for one in models],
        "rules": list(dict.fromkeys(rule.name for one in models for rule in definitions(one.composites))),
        "version": card.version,
        "classes": shortened(", ".join(card.classes), MAX_MESSAGE),
        "last_index": count - 1,
        "class": card.classes[index],
        "class_index": index,
        "other_class": card.classes[other_index],
        "input_size": size_in_words(card.input_size),
        "input_shape": [-1, *card.input_size],
        "tensor_shape": f"[N, {channels}, {height}, {width}]",
        "layer": names[len(names) // 3],
        "first_layer": first.name,
        "first_layer_kind": first.kind,
        "first_layer_description": first.description,
        "layers": "".join(first.name.rpartition(".")[:2]) + "*",
    }


def largest_input(models: Sequence[Description]) -> Sequence[int]:
    """Return the input size (channels, height, width) of the model that sees the most pixels."""
    return max((image_card(one.card).input_size for one in models), key=lambda size: size[1] * size[2])


def size_in_words(input_size: Sequence[int]) -> str:
    """Return the width and height of an input (channels, height, width)."""
    _, height, width = input_size
    return f"{width}×{height}"
