"""The kinds of input on the command line, and which of them a command is given."""

from app.command_line.kind import KindOnCommandLine, Sources
from app.command_line.pictures import PICTURES
from app.command_line.table import ROWS
from app.command_line.text import TEXTS
from app.errors import DataError

KINDS = (PICTURES, TEXTS, ROWS)


def kind_of(sources: Sources) -> KindOnCommandLine:
    """Return the kind of what is given; raises `DataError` for nothing, and for several kinds at once."""
    given = {one: [how for name, how in one.sources.items() if getattr(sources, name)] for one in KINDS}
    chosen = [one for one, how in given.items() if how]
    if not chosen:
        ways = ", ".join(f"{one.items} as {next(iter(one.sources.values()))}" for one in KINDS)
        raise DataError(f"no input: give {ways}")
    if len(chosen) > 1:
        ways = ", ".join(f"{' '.join(given[one])} is for {one.items}" for one in chosen)
        raise DataError(f"one kind of input at a time: {ways}")
    return chosen[0]
