"""Maps error types to HTTP: the status, title, slug and headers of each. The only such table."""

from collections.abc import Mapping
from typing import NamedTuple

from fastapi.exceptions import RequestValidationError

from app.api.http.errors import (
    BadRequestError,
    MethodNotAllowedError,
    NotAcceptableError,
    NotFoundError,
    TooSlowError,
    UnauthorizedError,
    UnsupportedMediaTypeError,
)
from app.errors import (
    DeadlineError,
    EmptyImageError,
    InternalError,
    InvalidFeaturesError,
    InvalidParameterError,
    TooLargeError,
    UnavailableError,
    UnknownModelError,
    UnreadableImageError,
    UnreadableTableError,
)


class ProblemType(NamedTuple):
    """A problem type of RFC 9457. ``slug`` is the last part of its URI."""

    status: int
    title: str
    slug: str
    headers: Mapping[str, str] = {}


BAD_REQUEST = ProblemType(400, "Bad request", "bad-request")
NOT_FOUND = ProblemType(404, "Not found", "not-found")
INVALID_PARAMETER = ProblemType(422, "Invalid parameter", "invalid-parameter")
# Chromium reads only the first challenge: for Basic it prompts for a key, so that `/` and `/docs` work.
CHALLENGES = {"WWW-Authenticate": 'Basic realm="lrpserve", Bearer realm="lrpserve"'}

PROBLEM_TYPES: Mapping[type[Exception], ProblemType] = {
    BadRequestError: BAD_REQUEST,
    EmptyImageError: BAD_REQUEST,
    UnauthorizedError: ProblemType(401, "Unauthorized", "unauthorized", CHALLENGES),
    NotFoundError: NOT_FOUND,
    UnknownModelError: NOT_FOUND,
    MethodNotAllowedError: ProblemType(405, "Method not allowed", "method-not-allowed"),
    NotAcceptableError: ProblemType(406, "Not acceptable", "not-acceptable"),
    TooSlowError: ProblemType(408, "Request timeout", "too-slow", {"Connection": "close"}),
    TooLargeError: ProblemType(413, "Content too large", "too-large"),
    UnsupportedMediaTypeError: ProblemType(415, "Unsupported media type", "unsupported-media-type"),
    InvalidParameterError: INVALID_PARAMETER,
    InvalidFeaturesError: ProblemType(422, "Invalid features", "invalid-features"),
    RequestValidationError: INVALID_PARAMETER,
    UnreadableImageError: ProblemType(422, "Unreadable image", "unreadable-image"),
    UnreadableTableError: ProblemType(422, "Unreadable table", "unreadable-table"),
    InternalError: ProblemType(500, "Internal error", "internal-error"),
    UnavailableError: ProblemType(503, "Service unavailable", "unavailable", {"Retry-After": "1"}),
    DeadlineError: ProblemType(504, "Gateway timeout", "deadline"),
}
"""Subclasses have the row of their nearest base class."""


def problem_type(error: type[Exception]) -> ProblemType:
    """Return the row of the nearest base class; of `InternalError` if none has a row."""
    rows = (PROBLEM_TYPES[base] for base in error.__mro__ if base in PROBLEM_TYPES)
    return next(rows, PROBLEM_TYPES[InternalError])
