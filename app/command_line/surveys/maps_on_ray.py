"""Maps of a survey that are computed on a Ray cluster, in a folder of Parquet files within the survey's."""

import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from app.api.parameters import SingleParameters
from app.command_line.many import OnRay, described
from app.command_line.surveys.kind import Request
from app.errors import DataError
from app.parquet.folder import GO_ON, Folder
from app.serving.many import PictureFile
from app.survey.items import Item
from app.survey.kept import KeptMap, KeptMaps

MAPS = "maps.parquet"
"""Folder of the maps within that of the survey, which is removed when the survey has them."""


class MapsOnRay:
    """Explains the pictures of a survey on a cluster when their maps are read; an `app.survey.kept.MapSource`."""

    def __init__(
        self, items: Sequence[Item], on_ray: OnRay, asked: SingleParameters, request: Request
    ) -> None:
        """Raises `DataError` for a picture without a file of its own, which workers cannot read."""
        if any(one.place is None for one in items):
            raise DataError(f"--ray: workers read files, and {request.options.data} is a zip; unpack it")
        self._pictures = [PictureFile(_path(one), Path(one.place or "").absolute()) for one in items]
        self._on_ray, self._asked, self._request = on_ray, asked, request

    def read(self, rows: Collection[int]) -> Iterator[tuple[int, KeptMap | DataError]]:
        """See `MapSource`. Maps of an interrupted survey are not computed again."""
        if not rows:
            return
        path = self._request.options.folder / MAPS
        folder = self._folder(path)
        with folder.locked():
            self._explain({self._pictures[row].path: self._pictures[row] for row in rows}, folder)
            yield from KeptMaps(folder, [one.path for one in self._pictures]).read(rows)
        shutil.rmtree(path)

    def _folder(self, path: Path) -> Folder:
        pipeline = self._request.pipeline
        asked = described(pipeline.card, pipeline.description.precision, self._asked, "npy")
        return Folder(path, asked, "--out", GO_ON)

    def _explain(self, wanted: dict[str, PictureFile], folder: Folder) -> None:
        from app.cluster.many import explain_on_cluster
        from app.cluster.start import cluster
        from app.cluster.work import Work

        for path in folder.paths():
            wanted.pop(path, None)
        todo, work = list(wanted.values()), Work(self._request.settings, self._asked.options(), "npy", folder)
        advance = self._request.progress.start("maps on the cluster", len(todo))
        if not todo:
            return
        with cluster(self._on_ray.address):
            for counts in explain_on_cluster(todo, len(todo), work):
                advance(counts.done + counts.failed)


def _path(item: Item) -> str:
    """Return the path of an item's row; bytes that are no text are written as escapes."""
    return os.fsencode(Path(item.place or "").absolute()).decode(errors="backslashreplace")
