"""Options of a command, made from the models of query parameters of an endpoint for each kind of input.

Names, types, defaults, choices and descriptions are those of the model's fields. A parameter that is added to the
endpoint is an option of the command as well.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, Generic, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from app.api.http.problems import message_of
from app.api.parameters import RULES_OF_MODEL
from app.api.placeholders import PLACEHOLDER
from app.api.rule_parameters import with_all_parameters
from app.errors import InvalidParameterError
from app.lrp.composites import definitions

Values = Mapping[str, Any]
"""What the command line gives for the fields of a model: texts, lists of texts, or flags; ``None``: not given."""
Parameters_co = TypeVar("Parameters_co", bound=BaseModel, covariant=True)

PANEL = "As over HTTP"
MAX_CHOICES_IN_PLACE = 5
"""Choices that ``--help`` names in place of the value; more are listed in the description."""


@dataclass(frozen=True)
class Difference:
    """What is different on the command line than over HTTP: the default, the description, or both."""

    default: str | None = None
    description: str | None = None


@dataclass(frozen=True)
class Offered(Generic[Parameters_co]):
    """Parameters of an endpoint that a command offers for one kind of input."""

    items: str
    """Several inputs of the kind, in messages."""
    base: type[Parameters_co]
    """Without the parameters of rules."""
    differences: Mapping[str, Difference]
    """By the names of fields."""
    only: frozenset[str] | None = None
    """Names of the fields that are options of the command; ``None``: all."""

    @property
    def parameters(self) -> type[Parameters_co]:
        """All parameters, with those of the rules in the table where explanations are offered."""
        return with_all_parameters(self.base)

    def read(self, given: Values) -> Parameters_co:
        """Return the parameters that are ``given``, and the defaults of the others.

        Raises `InvalidParameterError`, for a value with the message that HTTP gives.
        """
        for name in given:
            if name not in self.parameters.model_fields or not self._is_offered(name):
                raise InvalidParameterError(name, f"is not for {self.items}; leave it out")
        defaults = {name: one.default for name, one in self.differences.items() if one.default is not None}
        try:
            return self.parameters.model_validate(defaults | dict(given))
        except ValidationError as error:
            first = error.errors()[0]
            raise InvalidParameterError(str(first["loc"][0]), message_of(first)) from None

    def fields(self) -> dict[str, "_Field"]:
        """Return what the options of the fields need, by their names."""
        schema = self.parameters.model_json_schema()
        nothing = Difference()
        return {
            name: _field(field, schema.get("$defs", {}), self.differences.get(name, nothing))
            for name, field in schema["properties"].items()
            if self._is_offered(name)
        }

    def _is_offered(self, name: str) -> bool:
        return self.only is None or name in self.only


def with_options(command: Callable[..., None], kinds: Sequence[Offered[Any]]) -> Callable[..., None]:
    """Return ``command`` with an option for each field of the parameters of any of ``kinds``.

    ``command`` is a function of the given `Values` and of parameters of its own, which Typer reads.
    """
    fields: dict[str, dict[str, _Field]] = {}
    for kind in kinds:
        for name, field in kind.fields().items():
            fields.setdefault(name, {})[kind.items] = field
    options = [
        _option(name, by_kind, is_of_all=len(by_kind) == len(kinds)) for name, by_kind in fields.items()
    ]
    own = list(inspect.signature(command).parameters.values())[1:]

    @wraps(command)
    def parsed(**given: Any) -> None:
        values = {option.name: given.pop(option.name) for option in options}
        command({name: value for name, value in values.items() if value not in (None, [])}, **given)

    parsed.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined] # Typer reads it
    return parsed


@dataclass(frozen=True)
class _Field:
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


def _field(field: Mapping[str, Any], definitions: Mapping[str, Any], difference: Difference) -> _Field:
    parts = list(_parts(field, definitions))
    default = difference.default or field.get("default")
    description = difference.description or PLACEHOLDER.sub(
        lambda found: found[1].upper(), field.get("description", "")
    )
    return _Field(
        types=frozenset(part["type"] for part in parts if "type" in part),
        choices=tuple(name for part in parts for choice in part.get("enum", ()) for name in _names(choice)),
        description=description,
        default="" if default is None or default is False or default == [] else str(default),
    )


def _merged(fields: Iterable[_Field]) -> _Field:
    """Return the field of several kinds of input: described as that of the first, with the choices of all."""
    first, *others = fields
    choices = dict.fromkeys([*first.choices, *(choice for other in others for choice in other.choices)])
    return replace(first, choices=tuple(choices))


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


def _option(name: str, by_kind: Mapping[str, _Field], *, is_of_all: bool) -> inspect.Parameter:
    field = _merged(by_kind.values())
    option = typer.Option(
        None,
        help=_help(field, by_kind),
        metavar=field.metavar,
        autocompletion=lambda incomplete: [one for one in field.choices if one.startswith(incomplete)],
        show_default=False,
        rich_help_panel=PANEL if is_of_all else f"{PANEL}, for {' and '.join(by_kind)} only",
    )
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=field.type)


def _help(field: _Field, by_kind: Mapping[str, _Field]) -> str:
    text = field.description
    if len(field.choices) > MAX_CHOICES_IN_PLACE:
        text += f" One of {', '.join(field.choices)}."
    others = [
        f"for {items} {one.default}"
        for items, one in by_kind.items()
        if one.default not in ("", field.default)
    ]
    default = "; ".join(filter(None, [field.default, *others]))
    return f"{text} Default: {default}." if default else text
