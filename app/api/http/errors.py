"""Errors that only the HTTP interface raises."""

from app.errors import RequestError


class BadRequestError(RequestError):
    """The request's head or body is malformed, or its body does not hold exactly the expected parts."""


class UnauthorizedError(RequestError):
    """The service requires an API key, and the request has none or an invalid one."""


class NotFoundError(RequestError):
    """The address does not exist."""


class MethodNotAllowedError(RequestError):
    """The address does not support the request's method."""


class NotAcceptableError(RequestError):
    """None of the media types that the client accepts is available."""


class TooSlowError(RequestError):
    """The request's body did not arrive before the read deadline."""


class UnsupportedMediaTypeError(RequestError):
    """The body's declared media type or encoding is not supported."""
