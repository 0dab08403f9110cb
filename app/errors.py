"""The project's error types. ``detail`` states what is wrong and how to correct it.

LRPServeError
├── PublicError                its detail is shown to the sender of the request
│   ├── RequestError           the request must be changed
│   │   ├── EmptyImageError
│   │   ├── UnreadableImageError
│   │   ├── TooLargeError
│   │   ├── UnknownModelError
│   │   ├── UnreadableTableError
│   │   ├── InvalidFeaturesError
│   │   └── InvalidParameterError
│   │       └── InvalidTextError
│   ├── UnavailableError       the same request may succeed later
│   └── DeadlineError
├── InternalError              its detail is logged, not shown
├── RefusedToStartError        raised before the service starts; exit code 2
├── DataError                  raised by training and evaluation
├── GraphError                 a stored graph is damaged
│   └── UnsupportedNetworkError  a network cannot be turned into a graph
└── SourceError                raised by `lrpserve add`

Errors that only the HTTP interface raises are in `app.api.http.errors`; `app.api.http.problem_types` maps error
types to HTTP statuses.
"""

from collections.abc import Sequence


class LRPServeError(Exception):
    """Base class of the errors that this project raises."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def locate(self, place: str) -> None:
        """Say at which of several inputs it happened, such as ``rows[3]``."""
        self.detail = f"{place}: {self.detail}"


class PublicError(LRPServeError):
    """An error whose ``detail`` may be shown to the sender of the request."""


class RequestError(PublicError):
    """An error that the sender can correct by changing the request."""


class EmptyImageError(RequestError):
    """The image has no bytes."""


class UnreadableImageError(RequestError):
    """The bytes are not a readable image of a supported format."""


class TooLargeError(RequestError):
    """The request has more bytes, pixels or values than the service accepts."""


class UnknownModelError(RequestError):
    """No model, or no version of it, has the name in the request."""


class InvalidParameterError(RequestError):
    """A parameter is unknown, out of range, or does not fit the other parameters.

    ``detail`` is ``message`` with the parameter's name in front. ``place`` is the part of the request that has
    it: ``query`` or ``body``.
    """

    def __init__(self, parameter: str, message: str, place: str = "query") -> None:
        super().__init__(f"{parameter}: {message}")
        self.parameter = parameter
        self.message = message
        self.place = place


class InvalidTextError(InvalidParameterError):
    """The text of a request cannot be read, or has nothing that the model takes."""

    def __init__(self, message: str) -> None:
        super().__init__("text", message, "body")


class UnreadableTableError(RequestError):
    """The bytes are not rows of a table, in JSON or CSV."""


class InvalidFeaturesError(RequestError):
    """Features of a row are missing, unknown, given twice, or do not have a value that the network takes.

    ``problems`` has the names of the first `MAX_PROBLEMS` such features and what is wrong with each; ``detail``
    counts the others. ``place`` is the row, empty if there is only one.
    """

    MAX_PROBLEMS = 20

    def __init__(self, problems: Sequence[tuple[str, str]], place: str = "") -> None:
        self.problems = tuple(problems[: self.MAX_PROBLEMS])
        self.place = place
        sentences = [f"{name}: {message}" for name, message in self.problems]
        if more := len(problems) - len(self.problems):
            sentences.append(f"and {more} more")
        super().__init__(f"{place}: {'; '.join(sentences)}" if place else "; ".join(sentences))

    def locate(self, place: str) -> None:
        """See `LRPServeError`."""
        super().locate(place)
        self.place = f"{place}.{self.place}" if self.place else place


class UnavailableError(PublicError):
    """The service cannot process the request now; try again later."""


class DeadlineError(PublicError):
    """The request waited in a queue past its deadline and was not computed, or took too long and was ended."""


class InternalError(LRPServeError):
    """An internal error; the log has the details under the request's ID."""


class RefusedToStartError(LRPServeError):
    """The model or a setting cannot be used; ``detail`` names the file or setting and the reason."""


class DataError(LRPServeError):
    """Images for training or evaluation are missing or invalid."""


class GraphError(LRPServeError):
    """The graph of a network is damaged, or has an operation that is not supported; says which node."""


class UnsupportedNetworkError(GraphError):
    """A network cannot be traced; ``detail`` lists the operations that are not supported, or says why."""


class SourceError(LRPServeError):
    """A network cannot be added; ``detail`` names the source, file or option and the reason."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or the name of its type if it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)
