"""Maps that ``lrpserve explain`` has written to a folder of Parquet files, as those of a survey's items."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from app.errors import DataError
from app.parquet.folder import Folder
from app.parquet.schema import relevance_of
from app.survey.items import Item, item_of, of_split

COLUMNS = ("path", "error", "prediction_index", "leak", "relevance", "scale", "shape")


@dataclass(frozen=True, eq=False)
class KeptMap:
    """What is known of a picture that was explained."""

    prediction: int
    relevance: npt.NDArray[np.float32]
    """(channels, height, width)"""
    leak: float | None

    def check(self, logits: Sequence[float], classes: Sequence[str]) -> None:
        """Raise `DataError` if the picture, with these ``logits``, is not predicted as it was."""
        found = int(np.argmax(logits))
        if found != self.prediction:
            was, now = classes[self.prediction], classes[found]
            raise DataError(
                f"the picture has changed: predicted as {was} when it was explained, now as {now}"
            )


class MapSource(Protocol):
    """Maps of a survey's items that are computed already."""

    def read(self, rows: Collection[int]) -> Iterator[tuple[int, KeptMap | DataError]]:
        """Yield each of ``rows``, numbers of items, with its map, or why there is none, in any order."""


class KeptMaps:
    """The maps of items in a folder of Parquet files; a `MapSource`."""

    def __init__(self, folder: Folder, paths: Iterable[str]) -> None:
        """``paths``: what the row of each item has as its path."""
        self._folder = folder
        self._items: dict[str, list[int]] = {}
        for number, path in enumerate(paths):
            self._items.setdefault(path, []).append(number)

    def read(self, rows: Collection[int]) -> Iterator[tuple[int, KeptMap | DataError]]:
        """See `MapSource`: in the order of the folder."""
        wanted = set(rows)
        for batch in self._folder.batches(COLUMNS):
            for index, path in enumerate(batch.column("path").to_pylist()):
                for number in self._items.get(path, ()):
                    if number in wanted:
                        wanted.remove(number)  # a path may have several rows; the first one counts
                        yield number, _kept(batch, index)


def items_of_folder(folder: Folder, split: str | None = None) -> list[Item]:
    """Return the pictures of a folder, or of them those below a folder ``split``, if there is one."""
    return of_split(map(item_of, dict.fromkeys(folder.paths())), split)


def _kept(batch: pa.RecordBatch, index: int) -> KeptMap | DataError:
    row: dict[str, Any] = {name: batch.column(name)[index] for name in COLUMNS}
    plain = {name: value.as_py() for name, value in row.items() if name != "relevance"}
    if plain["error"] is not None:
        return DataError(plain["error"])
    relevance = row["relevance"].values.to_numpy()  # not by way of a list of Python's floats
    return KeptMap(plain["prediction_index"], relevance_of({**plain, "relevance": relevance}), plain["leak"])
