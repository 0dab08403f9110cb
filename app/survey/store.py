"""What a survey computes for each input, kept on disk in one HDF5 file, in the layout of ViRelAy's databases.

All datasets are created at once, contiguous and at their full size, so that rows are written in place through
memory maps. Neither the file's structure nor what is in memory changes while a survey runs: one that is killed
leaves a file that can be read, and goes on where it ended.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from app.errors import DataError

ERROR_BYTES = 240
IDENTITY = "lrpserve"
"""Attribute of the file with what its content depends on, as JSON."""

Array = np.memmap[Any, Any]


class Status(IntEnum):
    """What is known of an input."""

    WAITING = 0
    DONE = 1
    FAILED = 2


@dataclass(frozen=True, eq=False)
class Result:
    """What is computed for an input."""

    data: npt.NDArray[Any]
    """What is kept of it, of the `Layout`."""
    logits: Sequence[float]
    relevance: npt.NDArray[np.floating]
    """Of the shape of the `Layout`, or shorter: zeros follow."""
    leak: float | None


Results = Mapping[int, Result | str]
"""Row -> what is computed for it, or why that cannot be."""


@dataclass(frozen=True)
class Layout:
    """What is kept of each input, besides its map."""

    shape: tuple[int, ...]
    """Of the input and of its map; of inputs of different lengths, the longest."""
    dtype: npt.DTypeLike

    @property
    def result_bytes(self) -> int:
        """Size of a `Result` in memory, without its few logits; its map is in float32."""
        return math.prod(self.shape) * (np.dtype(self.dtype).itemsize + np.dtype(np.float32).itemsize)


@dataclass(frozen=True, eq=False)
class Store:
    """The rows of a survey, one for each input: memory maps of the datasets of a file.

    A map is ``attribution`` × ``scale``. Rows of inputs that failed are zeros.
    """

    path: Path
    data: Array
    """What the network takes, (n, …): of pictures uint8, (n, channels, height, width); see `Layout`."""
    attribution: Array
    """Relevance, float16, as ``data``; its largest magnitude is 1."""
    scale: Array
    """(n,)"""
    prediction: Array
    """Logits, (n, classes)."""
    label: Array
    """Number of the true label, int32, see `app.survey.items.labels_of`; of a value the true one, (n,)."""
    leak: Array
    """(n,); NaN: unknown."""
    status: Array
    """(n,), of `Status`."""
    error: Array
    """What failed, UTF-8, (n,)."""

    @classmethod
    def open(
        cls,
        path: Path,
        labels: npt.NDArray[Any],
        layout: Layout,
        classes: int,
        identity: Mapping[str, Any],
    ) -> "Store":
        """Return the rows in the file ``path``, which is created if it does not exist.

        Args:
            path: HDF5 file.
            labels: Label of each input, (n,).
            layout: What is kept of each input.
            classes: Number of the network's outputs.
            identity: What the content depends on.

        Raises:
            DataError: The file is of another survey, or damaged.

        """
        if not path.exists():
            _create(path, labels, layout, classes, identity)
        try:
            with h5py.File(path) as file:
                found = json.loads(file.attrs[IDENTITY])
                offsets = {name: (one.id.get_offset(), one.shape, one.dtype) for name, one in file.items()}
        except (OSError, KeyError, ValueError) as error:
            raise DataError(f"{path}: not a file of a survey ({error}); name another folder") from error
        if found != dict(identity):
            different = ", ".join(name for name in identity if found.get(name) != identity[name])
            raise DataError(
                f"{path}: is of another survey, with another {different}; name another folder with --out, or "
                "delete that file"
            )
        return cls(
            path,
            **{
                name: np.memmap(path, dtype, "r+", offset, shape)
                for name, (offset, shape, dtype) in offsets.items()
                if name != "index"
            },
        )

    def __len__(self) -> int:
        return len(self.status)

    @property
    def waiting(self) -> list[int]:
        """Rows that are to be computed; those that failed are tried again."""
        return np.flatnonzero(self.status != Status.DONE).tolist()

    @property
    def done(self) -> npt.NDArray[np.intp]:
        """Rows that are computed."""
        return np.flatnonzero(self.status == Status.DONE)

    @property
    def failed(self) -> dict[int, str]:
        """What is wrong with each input that failed, by its row."""
        rows = np.flatnonzero(self.status == Status.FAILED)
        return {int(row): bytes(self.error[row]).decode(errors="ignore") for row in rows}

    def keep(self, results: Results) -> None:
        """Keep what was computed for rows. They are marked when everything else of them is on disk."""
        for row, result in results.items():
            if isinstance(result, str):
                self.error[row] = result.encode(errors="replace")[:ERROR_BYTES]
            else:
                self._write(row, result)
        for one in (self.data, self.attribution, self.scale, self.prediction, self.leak, self.error):
            one.flush()
        self.status[list(results)] = [
            Status.FAILED if isinstance(result, str) else Status.DONE for result in results.values()
        ]
        self.status.flush()

    def _write(self, row: int, result: Result) -> None:
        relevance = result.relevance
        self.data[row] = result.data
        self.prediction[row] = result.logits
        self.leak[row] = np.nan if result.leak is None else result.leak
        self.scale[row] = scale = _scale(relevance)
        # In float64, as in `app.parquet.schema`: the same half-precision numbers however a map comes here.
        self.attribution[_places(row, relevance)] = relevance.astype(np.float64) / scale

    def maps(self, rows: npt.NDArray[np.intp] | slice) -> npt.NDArray[np.float32]:
        """Return the relevance of some rows, (n, …)."""
        maps: npt.NDArray[np.float32] = np.asarray(self.attribution[rows], np.float32)
        return maps * self.scale[rows].reshape(-1, *[1] * (maps.ndim - 1))


def _places(row: int, values: npt.NDArray[Any]) -> tuple[int | slice, ...]:
    return (row, *map(slice, values.shape))


def _scale(relevance: npt.NDArray[np.floating]) -> float:
    """Return the magnitude that a map is divided by: half precision has few digits below 6e-5."""
    return float(np.abs(relevance).max()) or 1.0


def _create(
    path: Path, labels: npt.NDArray[Any], layout: Layout, classes: int, identity: Mapping[str, Any]
) -> None:
    count = len(labels)
    unfinished = path.with_suffix(".part")
    with h5py.File(unfinished, "w") as file:
        file.attrs[IDENTITY] = json.dumps(identity)
        file["index"] = np.arange(count, dtype=np.uint32)
        for name, dtype, of_row in (
            ("data", layout.dtype, layout.shape),
            ("attribution", np.float16, layout.shape),
            ("scale", np.float32, ()),
            ("prediction", np.float32, (classes,)),
            ("label", labels.dtype, ()),
            ("leak", np.float32, ()),
            ("status", np.uint8, ()),
            ("error", np.dtype(f"S{ERROR_BYTES}"), ()),
        ):
            _create_contiguous(file, name, np.dtype(dtype), (count, *of_row))
        file["label"][...] = labels
    unfinished.rename(path)


def _create_contiguous(file: h5py.File, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Create a dataset with a place in the file, which h5py's own function leaves open until it is written."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)  # the file system's zeros take no space until written
    space = h5py.h5s.create_simple(shape)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(dtype, logical=True), space, properties)
