"""Options of a command, made from the model of an endpoint's query parameters.

Names, types, defaults, choices and descriptions are those of the model's fields. A parameter that is added to the
endpoint is an option of the command as well.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from app.api.http.problems import message_of
from app.api.parameters import RULES_OF_MODEL
from app.api.placeholders import PLACEHOLDER
from app.errors import InvalidParameterError
from app.lrp.composites import definitions

Values = Mapping[str, Any]
"""What the command line gives for the fields of a model: texts, lists of texts, or flags; ``None``: not given."""
Parameters = TypeVar("Parameters", bound=BaseModel)

MAX_CHOICES_IN_PLACE = 4
"""Choices that ``--help`` names in place of the value; more are listed in the description."""


@dataclass(frozen=True)
class Difference:
    """What is different on the command line than over HTTP: the default, the description, or both."""

    default: str | None = None
    description: str | None = None


def with_options(
    command: Callable[..., None], model: type[BaseModel], differences: Mapping[str, Difference]
) -> Callable[..., None]:
    """Return ``command`` with an option for each field of ``model``.

    Args:
        command: function of the given `Values` and of parameters of its own, which Typer reads.
        model: query parameters of an endpoint.
        differences: by the names of fields.

    """
    schema = model.model_json_schema()
    options = [
        _option(name, _kind(field, schema.get("$defs", {})), differences.get(name, Difference()))
        for name, field in schema["properties"].items()
    ]
    own = list(inspect.signature(command).parameters.values())[1:]

    @wraps(command)
    def parsed(**given: Any) -> None:
        values = {option.name: given.pop(option.name) for option in options}
        command({name: value for name, value in values.items() if value not in (None, [])}, **given)

    parsed.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined] # Typer reads it
    return parsed


def read(model: type[Parameters], given: Values, differences: Mapping[str, Difference]) -> Parameters:
    """Return the parameters that are ``given``, and the defaults of the others.

    Raises `InvalidParameterError` with the message that HTTP gives.
    """
    defaults = {name: one.default for name, one in differences.items() if one.default is not None}
    try:
        return model.model_validate(defaults | dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidParameterError(str(first["loc"][0]), message_of(first)) from None


@dataclass(frozen=True)
class _Kind:
    """What the JSON Schema of a field says that its option needs."""

    types: frozenset[str]
    choices: tuple[str, ...]
    description: str
    default: str

    @property
    def type(self) -> Any:
        """Type of the option; texts are validated by the model."""
        if "array" in self.types:
            return list[str] | None
        return bool | None if "boolean" in self.types else str | None

    @property
    def metavar(self) -> str | None:
        """What ``--help`` shows in place of the value."""
        if "boolean" in self.types:
            return None
        if 0 < len(self.choices) <= MAX_CHOICES_IN_PLACE:
            return "|".join(self.choices)
        return "NUMBER" if self.types & {"integer", "number"} else "TEXT"


def _kind(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> _Kind:
    parts = list(_parts(field, definitions))
    default = field.get("default")
    return _Kind(
        types=frozenset(part["type"] for part in parts if "type" in part),
        choices=tuple(name for part in parts for choice in part.get("enum", ()) for name in _names(choice)),
        description=PLACEHOLDER.sub(lambda found: found[1].upper(), field.get("description", "")),
        default="" if default is None or default is False or default == [] else str(default),
    )


def _names(choice: str) -> list[str]:
    """Return what a choice stands for. No model is loaded, so the rules are those for any network."""
    return [one.name for one in definitions()] if choice == RULES_OF_MODEL else [choice]


def _parts(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield ``schema`` and the schemas that it consists of: alternatives, references, and items of lists."""
    yield schema
    inner = [*schema.get("anyOf", ()), *schema.get("allOf", ()), *filter(None, [schema.get("items")])]
    if reference := schema.get("$ref"):
        inner.append(definitions[reference.rpartition("/")[2]])
    for part in inner:
        yield from _parts(part, definitions)


def _option(name: str, kind: _Kind, difference: Difference) -> inspect.Parameter:
    option = typer.Option(
        None,
        help=_help(kind, difference),
        metavar=kind.metavar,
        autocompletion=lambda incomplete: [one for one in kind.choices if one.startswith(incomplete)],
        show_default=False,
        rich_help_panel="As over HTTP",
    )
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind.type)


def _help(kind: _Kind, difference: Difference) -> str:
    text = difference.description or kind.description
    if len(kind.choices) > MAX_CHOICES_IN_PLACE:
        text += f" One of {', '.join(kind.choices)}."
    default = difference.default or kind.default
    return f"{text} Default: {default}." if default else text
