"""What a rule and a composite have in common: a name, a description, and parameters with ranges."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.errors import InvalidParameterError

Values = Mapping[str, float]
"""Parameters by name."""


@dataclass(frozen=True)
class Parameter:
    """A number that a rule takes."""

    name: str
    default: float
    minimum: float
    maximum: float
    description: str
    """For ``GET /rules`` and the page."""
    query: str
    """For the query parameter of that name, which serves all rules that take it."""
    example: float
    exclusive_minimum: bool = False

    @property
    def allowed(self) -> str:
        """The range in words."""
        return f"{'above' if self.exclusive_minimum else 'from'} {self.minimum:g} up to {self.maximum:g}"

    def admits(self, value: float) -> bool:
        """Return whether ``value`` is a number in range."""
        above = value > self.minimum if self.exclusive_minimum else value >= self.minimum
        return math.isfinite(value) and above and value <= self.maximum


def independent(values: Values, given: Values) -> Values:  # noqa: ARG001 # the signature of `Definition.relate`
    """Return ``values`` as they are, for parameters that do not depend on each other."""
    return values


@dataclass(frozen=True, kw_only=True, eq=False)
class Definition:
    """What ``GET /rules`` says of a rule or a composite."""

    name: str
    title: str
    formula: str
    parameters: tuple[Parameter, ...] = ()
    when: str
    source: str
    relate: Callable[[Values, Values], Values] = independent
    """Completes and checks parameters that depend on each other: values including defaults, values given by the
    client -> values. Raises `InvalidParameterError`.
    """

    def complete(self, given: Values) -> dict[str, float]:
        """Return a value for each parameter: the one that is ``given``, or its default.

        Raises `InvalidParameterError` for parameters that are unknown, out of range or do not fit each other.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name, value in given.items():
            if name not in known:
                takes = f"takes {', '.join(known)}" if known else "takes no parameters"
                raise InvalidParameterError(name, f"{self.name} {takes}; leave {name} out")
            if not known[name].admits(value):
                raise InvalidParameterError(
                    name, f"{value:g} is not allowed; a number {known[name].allowed} is"
                )
        defaults = {name: parameter.default for name, parameter in known.items()}
        return dict(self.relate({**defaults, **given}, given))
