"""Error messages and tables of the command line."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from app.errors import InvalidParameterError, LRPServeError
from app.models.records import Measured, TunedComposite

REFUSED = 2
"""Exit code where an option, a setting or a path cannot be used."""


def complain(text: str) -> None:
    """Print one line to standard error."""
    Console(stderr=True, highlight=False).print(f"lrpserve: {text}", markup=False, soft_wrap=True)


def message(error: LRPServeError | OSError) -> str:
    """What is wrong, in one line."""
    if isinstance(error, InvalidParameterError):
        return f"{option_name(error.parameter)}: {error.message}"
    if isinstance(error, LRPServeError):
        return error.detail
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)


def measured_table(measured: Measured, classes: Sequence[str]) -> Table:
    """Accuracy of each class and the confusion matrix."""
    table = Table(
        title=f"{measured.accuracy:.2%} of {measured.count} pictures, calibration error "
        f"{measured.calibration_error:.4f}, median leak "
        + ("unknown" if measured.median_leak is None else f"{measured.median_leak:.4f}"),
        caption="rows: true class; columns: predicted class",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),  # ten classes fit into 80 columns
    )
    table.add_column("class", no_wrap=True)
    table.add_column("right", justify="right", no_wrap=True)
    for name in classes:
        table.add_column(name[:4], justify="right", no_wrap=True)
    for name, row in zip(classes, measured.confusion, strict=True):
        accuracy = measured.per_class.get(name)  # None for a class without pictures
        table.add_row(name, "–" if accuracy is None else f"{accuracy:.1%}", *map(str, row))
    return table


def tuned_lines(tuned: TunedComposite) -> list[str]:
    """Rules and gaps of a tuned composite."""
    low, high = tuned.interval
    return [
        *tuned.layers,
        f"gap {tuned.gap:.3f} on {tuned.pictures} other pictures: {tuned.share_of_occlusion:.2f} of occlusion's "
        f"(95 % interval {low:.2f} to {high:.2f}); the default rule's is {tuned.default_gap:.3f}, "
        f"{tuned.default_gap / tuned.occlusion_gap:.2f} of occlusion's; {tuned.tried} composites tried",
    ]


def option_name(parameter: str) -> str:
    """Return the option for a parameter of the HTTP interface or a setting."""
    return "--" + parameter.replace("_", "-")
