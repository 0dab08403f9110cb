"""Files and terminal output of the command line."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

from app.errors import DataError, LRPServeError
from app.models.card import Measured

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
"""Of the files that are taken from a folder."""
REFUSED = 2
"""Exit code where an input, a file or a setting cannot be used."""


def for_each(source: Path, work: Callable[[Path], None]) -> None:
    """Call ``work`` for each picture of ``source``, a file or a folder.

    A picture that fails is named on standard error and the others go on; the exit code is then `REFUSED`.
    """
    failed = False
    for path in _pictures(source):
        try:
            work(path)
        except LRPServeError as error:
            failed = True
            complain(f"{path}: {message(error)}")
        except OSError as error:  # names its own file, which may be the heatmap
            if error.filename is None:  # such as a closed standard output
                raise
            failed = True
            complain(message(error))
    if failed:
        raise typer.Exit(REFUSED)


def heatmap_paths(source: Path, output: Path | None) -> Callable[[Path], Path]:
    """Return the function from a picture's path to its heatmap's; creates the folder for several."""
    if source.is_file():
        return lambda path: output or path.with_name(_heatmap_name(path))
    folder = output or source / "heatmaps"
    folder.mkdir(parents=True, exist_ok=True)
    return lambda path: folder / _heatmap_name(path)


def complain(text: str) -> None:
    """Print one line to standard error."""
    Console(stderr=True, highlight=False).print(f"lrpserve: {text}", markup=False, soft_wrap=True)


def message(error: LRPServeError | OSError) -> str:
    """What is wrong, in one line."""
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


def _pictures(source: Path) -> Iterator[Path]:
    """The file itself, or the pictures of a folder behind a progress bar."""
    if source.is_file():
        yield source
        return
    paths = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise DataError(f"{source}: no picture in this folder")
    yield from track(paths, description="pictures", console=Console(stderr=True))


def _heatmap_name(path: Path) -> str:
    return f"{path.stem}.heatmap.png"
