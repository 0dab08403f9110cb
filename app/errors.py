"""The error tree. Every error that a person may see knows its status, its title and what to do about it.

LRPServeError
├── RequestError                  the client can mend it
│   ├── BadRequestError           400  malformed multipart, no file, more than one, empty body
│   ├── UnauthorizedError         401  keys are configured and none, or a wrong one, was sent
│   ├── NotFoundError             404  no such model or version
│   ├── MethodNotAllowedError     405  the address has no such method
│   ├── NotAcceptableError        406  no such form of answer
│   ├── TooSlowError              408  the request did not arrive within the read deadline
│   ├── TooLargeError             413  more bytes or pixels than allowed
│   ├── UnsupportedMediaTypeError 415  neither multipart nor an image type
│   ├── UnreadableImageError      422  not a readable picture of an allowed format
│   └── InvalidParameterError     422  a bad parameter, by name
├── UnavailableError              503  not ready, draining or too busy: retry later
├── DeadlineError                 504  waited longer in the queue than is of use to anybody
├── InternalError                 500  our fault; says nothing but the request's ID
├── RefusedToStartError           no status: model or settings are unusable; the process ends with code 2
└── DataError                     no status: pictures for training are not where, or what, they should be
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Self


class LRPServeError(Exception):
    """Anything that this project raises on purpose. ``detail`` says what is wrong and what to do."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class HTTPError(LRPServeError):
    """An error with an HTTP status. ``slug`` ends its problem type's URI."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    slug: ClassVar[str] = "internal-error"
    headers: ClassVar[Mapping[str, str]] = MappingProxyType({})


class RequestError(HTTPError):
    """Something in the request that its sender can mend."""


class BadRequestError(RequestError):
    """The body is not the one picture that was asked for."""

    status = 400
    title = "Bad request"
    slug = "bad-request"


class UnauthorizedError(RequestError):
    """A key is needed, and none of the service's was sent."""

    status = 401
    title = "Unauthorized"
    slug = "unauthorized"
    # Chromium reads only the first challenge: with Basic it asks for a key, and `/` and `/docs` work.
    headers = MappingProxyType({"WWW-Authenticate": 'Basic realm="lrpserve", Bearer realm="lrpserve"'})


class NotFoundError(RequestError):
    """What the address names is not here."""

    status = 404
    title = "Not found"
    slug = "not-found"


class MethodNotAllowedError(RequestError):
    """The address does not take this method."""

    status = 405
    title = "Method not allowed"
    slug = "method-not-allowed"


class NotAcceptableError(RequestError):
    """None of the forms that the client accepts can be served."""

    status = 406
    title = "Not acceptable"
    slug = "not-acceptable"


class TooSlowError(RequestError):
    """The request's body did not arrive in time."""

    status = 408
    title = "Request timeout"
    slug = "too-slow"
    headers = MappingProxyType({"Connection": "close"})


class TooLargeError(RequestError):
    """More bytes or more pixels than the service takes."""

    status = 413
    title = "Content too large"
    slug = "too-large"


class UnsupportedMediaTypeError(RequestError):
    """The body's declared type or encoding is not one of ours."""

    status = 415
    title = "Unsupported media type"
    slug = "unsupported-media-type"


class UnreadableImageError(RequestError):
    """The bytes are not a readable picture of an allowed format."""

    status = 422
    title = "Unreadable image"
    slug = "unreadable-image"


class InvalidParameterError(RequestError):
    """One parameter is unknown, out of range or does not fit the others."""

    status = 422
    title = "Invalid parameter"
    slug = "invalid-parameter"

    def __init__(self, parameter: str, detail: str) -> None:
        super().__init__(f"{parameter}: {detail}")
        self.parameter = parameter
        self.message = detail

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        """Exceptions are made again of what they said, and this one says more than it was told."""
        return type(self), (self.parameter, self.message)


class UnavailableError(HTTPError):
    """The service cannot answer now, but will."""

    status = 503
    title = "Service unavailable"
    slug = "unavailable"
    headers = MappingProxyType({"Retry-After": "1"})


class DeadlineError(HTTPError):
    """It waited too long for its turn, and was never computed."""

    status = 504
    title = "Gateway timeout"
    slug = "deadline"


class InternalError(HTTPError):
    """Something went wrong inside; the log has it under the request's ID."""


class RefusedToStartError(LRPServeError):
    """The model or the settings cannot be used; says which file or setting and why."""


class DataError(LRPServeError):
    """Pictures to train on or to evaluate with are not where, or not what, they should be."""
