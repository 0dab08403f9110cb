"""JSON of requests as Python values, with names that an object has twice."""

import json
import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from app.errors import RequestError, TooLargeError

BYTE_ORDER_MARK = "\ufeff"
MAX_BRACKETS = 400_000
"""Opening brackets in one request, in its texts too: millions of lists take seconds and a gigabyte to parse."""


HALF = re.compile("[\ud800-\udfff]")
"""Half of a surrogate pair, which JSON can contain and UTF-8 cannot."""


class _NoTextError(ValueError):
    """A name in JSON is no text; says which."""


class Doubled(Enum):
    """Value of a name that an object of JSON has twice."""

    DOUBLED = "given twice"


DOUBLED = Doubled.DOUBLED


def values_of_json(data: bytes, error: type[RequestError], example: str) -> object:
    """Return the values in JSON, UTF-8 with or without a byte-order mark.

    A name that an object has twice has the value `DOUBLED`, and literals such as NaN are floats. Raises ``error``
    for what is not JSON, with ``example``, which says what to send, for an empty body, and `TooLargeError` for
    very many lists and objects.
    """
    if not data.strip():
        raise error(f"the body is empty; {example}")
    if data.count(b"[") + data.count(b"{") > MAX_BRACKETS:
        raise TooLargeError(f"the JSON has over {MAX_BRACKETS} brackets; {example}")
    try:
        return json.loads(decoded(data, error), object_pairs_hook=_object)
    except json.JSONDecodeError as invalid:
        place = f"line {invalid.lineno}, column {invalid.colno}"
        raise error(f"the body is not valid JSON: {invalid.msg} at {place}") from None
    except _NoTextError as invalid:
        raise error(str(invalid)) from None
    except (ValueError, RecursionError):  # numbers of thousands of digits, and thousands of brackets
        raise error("the body is JSON that is nested too deeply or has endless numbers") from None


def object_of_json(text: str) -> dict[str, Any] | None:
    """Return an object of JSON as `values_of_json` reads it, or ``None`` if ``text`` is anything else."""
    try:
        body = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def advice_on(body: object, forms: Mapping[str, str], example: str) -> str:
    """Return what is wrong with a request that has none of ``forms``: a name, and what its value is to be."""
    if not isinstance(body, dict):
        return f"the JSON is {kind_of_value(body)}, not an object; {example}"
    for name, form in forms.items():
        if name not in body:
            continue
        if others := ", ".join(repr(other) for other in list(body)[:5] if other != name):
            return f"the JSON has {others} beside {name!r}; {example}"
        return f"{name}: is {kind_of_value(body[name])}; {form} is expected"
    missing = " nor ".join(map(repr, forms))
    return f"the JSON has {'neither' if len(forms) > 1 else 'no'} {missing}; {example}"


def kind_of_value(value: object) -> str:
    """Return what a value of JSON is, for messages."""
    match value:
        case Doubled():
            return value.value
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case []:
            return "empty"
        case list():
            return "a list"
    return "an object"


def decoded(data: bytes, error: type[RequestError]) -> str:
    """Return the text of UTF-8, with or without a byte-order mark; raises ``error`` for other encodings."""
    try:
        return data.decode().removeprefix(BYTE_ORDER_MARK)
    except UnicodeDecodeError as invalid:
        line = data.count(b"\n", 0, invalid.start) + 1
        raise error(f"line {line} is not UTF-8; save it as UTF-8") from None


def _object(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if HALF.search(name):
            raise _NoTextError(f"the JSON has a name that is no text, {name!a}; write whole characters")
        found[name] = DOUBLED if name in found else value
    return found
