"""Which form of answer the client takes: ``format`` if given, else the ``Accept`` header."""

from collections.abc import Sequence

from app.api.http.errors import NotAcceptableError
from app.serving.representations import Format


def choose(asked: str | None, accept: str, offered: Sequence[Format]) -> Format:
    """The best of ``offered``, the first where the client does not mind (RFC 9110, 12.5.1).

    Raises `NotAcceptableError` where the client takes none of them.
    """
    if asked is not None:
        return Format(asked)
    ranges = [_media_range(item) for item in accept.split(",") if item.strip()] or [("*/*", 1.0)]
    quality = {form: _quality(form.media_type, ranges) for form in offered}
    best = max(offered, key=lambda form: quality[form])  # max() keeps the first of equals
    if quality[best] <= 0:
        raise NotAcceptableError(
            f"cannot answer as {accept}; this address has {', '.join(form.media_type for form in offered)}"
        )
    return best


def _media_range(item: str) -> tuple[str, float]:
    media_range, *parameters = (part.strip().lower() for part in item.split(";"))
    weights = [value for name, _, value in (p.partition("=") for p in parameters) if name.strip() == "q"]
    try:
        return media_range, float(weights[0]) if weights else 1.0
    except ValueError:
        return media_range, 0.0


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    # The most specific range that matches decides, whatever the order.
    for candidate in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        for media_range, weight in ranges:
            if media_range == candidate:
                return weight
    return 0.0
