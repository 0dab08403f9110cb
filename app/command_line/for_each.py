"""The loop over the pictures of a command."""

from collections.abc import Callable, Iterable, Sequence

import typer
from rich.console import Console
from rich.progress import track

from app.command_line.console import complain, message
from app.command_line.inputs import Input, Inputs
from app.errors import LRPServeError

FAILED = 1
"""Exit code where a picture failed."""


def for_each(inputs: Inputs, work: Callable[[Input], None]) -> None:
    """Call ``work`` for each picture; then print how many were done and what was skipped.

    A picture that fails is named on standard error and the others go on; the exit code is then `FAILED`.
    """
    failed = 0
    for picture in _with_progress(inputs.pictures):
        try:
            work(picture)
        except LRPServeError as error:
            failed += 1
            complain(f"{picture}: {message(error)}")
        except OSError as error:  # names its own file, which may be the heatmap
            if error.filename is None:  # such as a closed standard output
                raise
            failed += 1
            complain(message(error))
    _summarise(inputs, failed)
    if failed:
        raise typer.Exit(FAILED)


def _with_progress(pictures: Sequence[Input]) -> Iterable[Input]:
    """Return ``pictures``, several of them behind a progress bar on a terminal."""
    console = Console(stderr=True)
    hidden = len(pictures) == 1 or not console.is_terminal
    return track(pictures, description="pictures", console=console, disable=hidden)


def _summarise(inputs: Inputs, failed: int) -> None:
    count = len(inputs.pictures)
    if count > 1:
        typer.echo(f"{count - failed} of {count} pictures done, {failed} failed", err=True)
    for line in inputs.skipped_lines():
        typer.echo(line, err=True)
