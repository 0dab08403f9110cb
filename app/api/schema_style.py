"""Changes of a generated OpenAPI schema that make it easier to read, for people and for generators of clients."""

from collections.abc import Mapping
from typing import Any

FIRST_PARAMETERS = ("rule", "target", "versus", "view")
"""The parameters that are used most, in the order in which they come before all others."""
NULL = {"type": "null"}


def readable(schema: dict[str, Any]) -> dict[str, Any]:
    """Return ``schema`` with important parameters first, and without ``anyOf`` where null is one of two types.

    Of parameters null is left out: they cannot be null in a URL. Elsewhere a type becomes ``["number", "null"]``;
    references stay in ``anyOf``, which they need. Swagger UI shows ``anyOf`` as ``integer | (integer | null)``.
    """
    schema = _nullable_types(schema)
    for operations in schema["paths"].values():
        for operation in operations.values():
            parameters = operation.get("parameters", [])
            parameters.sort(key=_rank)
            for parameter in parameters:
                parameter["schema"] = _not_null(parameter["schema"])
    return schema


def _rank(parameter: Mapping[str, Any]) -> int:
    name = parameter["name"]
    return FIRST_PARAMETERS.index(name) if name in FIRST_PARAMETERS else len(FIRST_PARAMETERS)


def _nullable_types(schema: Any) -> Any:
    """Return ``schema`` with a list of two types for each ``anyOf`` of one simple type and null.

    The default null of what may be left out is dropped, since the type may not allow it.
    """
    if isinstance(schema, list):
        return [_nullable_types(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {
        name: _nullable_types(value) for name, value in schema.items() if (name, value) != ("default", None)
    }
    only = _only_type(schema)
    if only is None or not isinstance(only.get("type"), str):
        return schema
    nullable = {**only, "type": [only["type"], "null"]}
    if "enum" in only:
        nullable["enum"] = [*only["enum"], None]
    return _merged(schema, nullable)


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter without null."""
    types = schema.get("type")
    if isinstance(types, list):
        values = (
            {"enum": [value for value in schema["enum"] if value is not None]} if "enum" in schema else {}
        )
        return {**schema, **values, "type": types[0]}
    only = _only_type(schema)
    return schema if only is None else _merged(schema, only)


def _only_type(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the other one of two schemas in ``anyOf`` if one is null."""
    choices = schema.get("anyOf", [])
    others = [choice for choice in choices if choice != NULL]
    return others[0] if len(choices) == 2 and len(others) == 1 else None


def _merged(schema: Mapping[str, Any], only: Mapping[str, Any]) -> dict[str, Any]:
    return {**only, **{name: value for name, value in schema.items() if name != "anyOf"}}
