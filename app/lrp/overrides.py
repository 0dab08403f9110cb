"""Overrides of the rule of single layers: ``GLOB:RULE`` or ``GLOB:RULE(name=value, …)``."""

import re
from collections.abc import Sequence
from fnmatch import translate

from app.errors import InvalidParameterError
from app.lrp.rules import RULES, AssignedRule, Rule, Rules

MAX_OVERRIDES = 32
"""Of one explanation; a glob reaches many layers."""
MAX_OVERRIDE_LENGTH = 100
"""Characters."""
MAX_WILDCARDS = 8
"""Of one glob. Each takes microseconds, and requests with many pictures may have a thousand globs."""

_OVERRIDE = re.compile(r"(?P<glob>[^:]+):(?P<rule>\w+)(?:\((?P<parameters>[^()]*)\))?")


def check_count(overrides: Sequence[str]) -> None:
    """Raise `InvalidParameterError` for more than `MAX_OVERRIDES`."""
    if len(overrides) > MAX_OVERRIDES:
        raise InvalidParameterError(
            "layers", f"{len(overrides)} overrides are over {MAX_OVERRIDES}; a glob reaches many layers"
        )


def overridden(
    overrides: Sequence[str], weighted: Sequence[str], rules: Rules = RULES
) -> dict[str, AssignedRule]:
    """Return the rules that ``overrides`` assign, by layer; of several that match a layer the last one counts.

    ``weighted`` are the names of the layers with weights, in the order in which they run; ``rules`` are those
    that may be named. Raises `InvalidParameterError`.
    """
    assigned: dict[str, AssignedRule] = {}
    for override in overrides:
        try:
            assigned |= _parse(override, weighted, rules)
        except InvalidParameterError as error:
            raise InvalidParameterError("layers", f"{override!r}: {error.message}") from None
    return assigned


def assignments(text: str) -> dict[str, float]:
    """Parse ``name=value, name=value``; raises `InvalidParameterError`."""
    pairs: dict[str, float] = {}
    for assignment in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = (part.strip() for part in assignment.partition("="))
        if name in pairs:
            raise InvalidParameterError("layers", f"{name} is given twice; give it once")
        try:
            pairs[name] = float(value)
        except ValueError:
            message = f"{assignment!r} does not give a number; write name=value"
            raise InvalidParameterError("layers", message) from None
    return pairs


def as_text(rule: AssignedRule) -> str:
    """Return ``RULE`` or ``RULE(name=value, …)``."""
    parameters = ", ".join(f"{name}={value:g}" for name, value in rule.parameters)
    return f"{rule.name}({parameters})" if parameters else rule.name


def parsed_rule(override: str, rules: Rules = RULES) -> Rule:
    """Return the rule that an override names; raises `InvalidParameterError`."""
    name = _match(override)["rule"]
    if name not in rules:
        needs = f"{name} needs bounds of the input, which the model's does not have"
        problem = needs if name in RULES else f"there is no rule {name!r} for a layer"
        raise InvalidParameterError("layers", f"{problem}; there are {', '.join(rules)}")
    return rules[name]


def _match(override: str) -> re.Match[str]:
    if len(override) > MAX_OVERRIDE_LENGTH:
        raise InvalidParameterError(
            "layers", f"{len(override)} characters are over {MAX_OVERRIDE_LENGTH}; a glob makes names short"
        )
    parsed = _OVERRIDE.fullmatch(override)
    if parsed is None:
        example = "features.*:gamma(gamma=0.5)"
        raise InvalidParameterError("layers", f"write LAYER:RULE or LAYER:RULE(name=value), like {example}")
    return parsed


def _parse(override: str, weighted: Sequence[str], rules: Rules) -> dict[str, AssignedRule]:
    """Return the layers that match one override, and its rule."""
    parsed, rule = _match(override), parsed_rule(override, rules)
    names = _matching(parsed["glob"], weighted)
    if not names:
        message = f"no layer with weights matches; there are {', '.join(weighted)}"
        raise InvalidParameterError("layers", message)
    if rule.rule_above is not None and names != list(weighted[:1]):
        message = (
            f"{rule.name} needs bounds, which only the pixel layer has; it can be given to {weighted[0]}"
        )
        raise InvalidParameterError("layers", message)
    parameters = rule.complete(assignments(parsed["parameters"] or ""))
    return dict.fromkeys(names, AssignedRule(rule.name, tuple(parameters.items())))


def _matching(glob: str, names: Sequence[str]) -> list[str]:
    if sum(map(glob.count, "*?[")) > MAX_WILDCARDS:
        raise InvalidParameterError("layers", f"more than {MAX_WILDCARDS} wildcards; one or two will do")
    pattern = re.compile(translate(glob))  # `fnmatch` would keep tens of thousands of them
    return [name for name in names if pattern.match(name)]
