"""Maps that ``lrpserve explain`` has written to a folder of Parquet files, as those of a survey's items."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from app.errors import DataError
from app.parquet.folder import Folder
from app.parquet.schema import relevance_of
from app.survey.items import Item, item_of, of_split

COLUMNS = ("error", "prediction_index", "leak", "relevance", "scale", "shape")


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


class KeptMaps:
    """The pictures and maps of a folder, in the order of its rows."""

    def __init__(self, folder: Folder, split: str | None = None) -> None:
        """``split``: only pictures below a folder of this name, if there is one."""
        self._folder = folder
        places: dict[str, int] = {}
        for place, path in enumerate(folder.paths()):
            places.setdefault(path, place)
        self.items: Sequence[Item] = of_split(map(item_of, places), split)
        self._places = [places[one.name] for one in self.items]

    def read(self, rows: Sequence[int]) -> Iterator[KeptMap | DataError]:
        """Yield the map of each of ``rows``, rising numbers of `items`, or why there is none."""
        wanted = iter([self._places[row] for row in rows])
        place, following = 0, next(wanted, None)
        for batch in self._folder.batches(COLUMNS):
            while following is not None and following < place + batch.num_rows:
                yield _kept(batch, following - place)
                following = next(wanted, None)
            place += batch.num_rows


def _kept(batch: pa.RecordBatch, index: int) -> KeptMap | DataError:
    row: dict[str, Any] = {name: batch.column(name)[index] for name in COLUMNS}
    plain = {name: value.as_py() for name, value in row.items() if name != "relevance"}
    if plain["error"] is not None:
        return DataError(plain["error"])
    relevance = row["relevance"].values.to_numpy()  # not by way of a list of Python's floats
    return KeptMap(plain["prediction_index"], relevance_of({**plain, "relevance": relevance}), plain["leak"])
