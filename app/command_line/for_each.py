"""The loop over the inputs of a command."""

from collections.abc import Callable, Iterable, Sequence

import typer
from rich.console import Console
from rich.progress import track

from app.command_line.console import complain, message
from app.command_line.kind import Inputs, Item
from app.errors import LRPServeError

FAILED = 1
"""Exit code where an input failed."""


def for_each(
    inputs: Inputs, name: str, work: Callable[[Item], None], finish: Callable[[], None] | None = None
) -> None:
    """Call ``work`` for each input, then ``finish``; then print how many were done and what was skipped.

    An input that fails is named on standard error and the others go on; the exit code is then `FAILED`. ``name``
    is that of several inputs.
    """
    failed = 0
    for item in _with_progress(inputs.items, name):
        try:
            work(item)
        except LRPServeError as error:
            failed += 1
            complain(f"{item}: {message(error)}")
        except OSError as error:  # names its own file, which may be the output
            if error.filename is None:  # such as a closed standard output
                raise
            failed += 1
            complain(message(error))
    if finish is not None:
        finish()
    _summarise(inputs, name, failed)
    if failed:
        raise typer.Exit(FAILED)


def _with_progress(items: Sequence[Item], name: str) -> Iterable[Item]:
    """Return ``items``, several of them behind a progress bar on a terminal."""
    console = Console(stderr=True)
    hidden = len(items) == 1 or not console.is_terminal
    return track(items, description=name, console=console, disable=hidden)


def _summarise(inputs: Inputs, name: str, failed: int) -> None:
    count = len(inputs.items)
    if count > 1:
        typer.echo(f"{count - failed} of {count} {name} done, {failed} failed", err=True)
    for line in inputs.skipped_lines():
        typer.echo(line, err=True)
