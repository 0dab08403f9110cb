"""Checks of a query as a whole: parameters that are repeated, and those of an address that has none."""

from fastapi import Request

from app.errors import InvalidParameterError

REPEATABLE = frozenset({"layers"})
"""Parameters that may be repeated on every route that has them."""


async def each_once(request: Request) -> None:
    """Raise `InvalidParameterError` for a parameter that is repeated."""
    _refuse_repeated(request, REPEATABLE)


async def each_once_but_rules(request: Request) -> None:
    """Raise `InvalidParameterError` for a parameter that is repeated, except rules to evaluate."""
    _refuse_repeated(request, REPEATABLE | {"rule"})


async def each_once_but_rules_and_targets(request: Request) -> None:
    """Raise `InvalidParameterError` for a parameter that is repeated, except rules and targets to compare."""
    _refuse_repeated(request, REPEATABLE | {"rule", "target"})


def _refuse_repeated(request: Request, repeatable: frozenset[str]) -> None:
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name in seen and name not in repeatable:
            raise InvalidParameterError(name, "is given more than once; give it once")
        seen.add(name)


async def none_at_all(request: Request) -> None:
    """Raise `InvalidParameterError` for every parameter."""
    for name in request.query_params:
        raise InvalidParameterError(name, "no such parameter; this address has none")
