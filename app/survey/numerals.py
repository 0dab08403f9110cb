"""Numbers as they are written in reports."""

import math


def percent(value: float | None, digits: int = 0) -> str:
    """Return a share as text."""
    return "–" if value is None or math.isnan(value) else f"{100 * value:.{digits}f} %"


def number(value: float, digits: int = 4, *, signed: bool = False) -> str:
    """Return a number of so many digits as text, with the minus sign of print."""
    return f"{value:{'+' if signed else ''}.{digits}g}".replace("-", "−")
