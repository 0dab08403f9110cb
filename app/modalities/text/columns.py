"""Files with ``text<TAB>label`` in each line."""

from pathlib import Path


def read_columns(path: Path) -> list[list[str]]:
    """Return the columns of each line of a file of tab-separated values.

    Lines end as in Python's text files: other characters that Unicode separates lines with, such as U+2028, are
    part of a text, and so are quotation marks. Raises `OSError` and `UnicodeDecodeError`: the file is not UTF-8.
    """
    with path.open(encoding="utf-8-sig") as lines:
        return [line.removesuffix("\n").split("\t") for line in lines]
