"""Content negotiation: the format of a response, from the parameter ``format`` or the header ``Accept``."""

from collections.abc import Sequence

from app.api.http.errors import NotAcceptableError
from app.serving.representations import Format


def choose(requested: str | None, accept: str, offered: Sequence[Format]) -> Format:
    """Return the format of the response (RFC 9110, 12.5.1).

    Args:
        requested: Value of the parameter ``format``, which has precedence.
        accept: Value of the header ``Accept``.
        offered: Available formats; of equally acceptable ones the first is chosen.

    Raises:
        NotAcceptableError: ``requested`` is none of them, or ``accept`` excludes all.

    """
    if requested is not None:
        if (form := Format(requested)) not in offered:
            raise _not_acceptable(form.media_type, offered)
        return form
    ranges = _media_ranges(accept) or [("*/*", 1.0)]
    quality = {form: _quality(form.media_type, ranges) for form in offered}
    best = max(offered, key=lambda form: quality[form])  # max() returns the first of equal ones
    if quality[best] <= 0:
        raise _not_acceptable(accept, offered)
    return best


def names(accept: str, media_type: str) -> bool:
    """Return whether ``accept`` has ``media_type`` itself, and not only a range that contains it."""
    return any(name == media_type and weight > 0 for name, weight in _media_ranges(accept))


def _not_acceptable(wanted: str, offered: Sequence[Format]) -> NotAcceptableError:
    forms = ", ".join(form.media_type for form in offered)
    return NotAcceptableError(f"cannot answer this request as {wanted}; there is {forms}")


def _media_ranges(accept: str) -> list[tuple[str, float]]:
    return [_media_range(item) for item in accept.split(",") if item.strip()]


def _media_range(item: str) -> tuple[str, float]:
    """Parse an item of ``Accept``, such as ``image/*;q=0.5``, to media range and quality."""
    media_range, *parameters = (part.strip().lower() for part in item.split(";"))
    weights = [value for name, _, value in (p.partition("=") for p in parameters) if name.strip() == "q"]
    try:
        return media_range, float(weights[0]) if weights else 1.0
    except ValueError:
        return media_range, 0.0


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    # The most specific matching range has precedence, independent of their order.
    for candidate in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        for media_range, weight in ranges:
            if media_range == candidate:
                return weight
    return 0.0
