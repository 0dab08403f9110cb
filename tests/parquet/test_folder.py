"""Folders of Parquet files, of one request each."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.errors import DataError
from app.parquet.folder import Folder
from app.parquet.schema import SCHEMA, relevance_columns, relevance_of

ASKED = {"model": "m@1", "rule": "epsilon"}


def row(path: str) -> dict[str, object]:
    return {"path": path, "sum": 0.5}


def test_rows_are_read_back_in_their_order(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "maps.parquet", ASKED)
    assert (folder.next_number, list(folder.paths())) == (0, [])
    folder.write([row("b"), row("a")], 0)
    folder.write([row("c")], 0)
    folder.write([row("d")], 7)
    again = Folder(tmp_path / "maps.parquet", dict(reversed(ASKED.items())))
    assert (again.next_number, list(again.paths())) == (8, ["b", "a", "c", "d"])
    assert list(again.paths(0)) == ["b", "a", "c"]
    table = pq.read_table(tmp_path / "maps.parquet")
    assert table.schema.equals(SCHEMA)
    assert table["path"].to_pylist() == ["b", "a", "c", "d"]


def test_an_unfinished_file_is_no_part_of_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path, ASKED)
    folder.write([row("a")], 0)
    (tmp_path / ".part-000000-0001.parquet.unfinished").write_bytes(b"PAR1")
    assert list(Folder(tmp_path, ASKED).paths()) == ["a"]
    assert pq.read_table(tmp_path)["path"].to_pylist() == ["a"]


def test_another_request_is_refused_with_what_differs(tmp_path: Path) -> None:
    Folder(tmp_path, ASKED).write([row("a")], 0)
    with pytest.raises(DataError, match=r"another request, rule epsilon instead of gamma, gamma not given i"):
        Folder(tmp_path, {"model": "m@1", "rule": "gamma", "gamma": 0.5})


def test_what_is_no_folder_of_these_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"file.parquet is a file"):
        Folder(tmp_path / "file.parquet", ASKED)
    (tmp_path / "theirs").mkdir()
    pq.write_table(pa.table({"path": ["a"]}), tmp_path / "theirs" / "part-000000-0000.parquet")
    with pytest.raises(DataError, match=r"part-000000-0000.parquet is no file of lrpserve explain"):
        Folder(tmp_path / "theirs", ASKED)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "part-000000-0000.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"part-000000-0000.parquet: is damaged; remove it"):
        Folder(tmp_path / "damaged", ASKED)


def test_two_commands_do_not_write_to_one_folder(tmp_path: Path) -> None:
    folder = Folder(tmp_path, ASKED)
    with folder.locked(), pytest.raises(DataError, match="another command writes to"), folder.locked():
        pass
    with folder.locked():
        pass


def test_maps_keep_their_values_in_16_bits() -> None:
    random = np.random.default_rng(0)
    maps = [
        (random.standard_normal((3, 8, 9)) * size).astype(np.float32) for size in (1e-30, 1e-6, 1.0, 1e30)
    ]
    for relevance in [*maps, np.zeros((2, 2), np.float32)]:
        columns = relevance_columns(relevance)
        restored = relevance_of(columns)
        assert restored.shape == relevance.shape
        largest = np.abs(relevance).max()
        np.testing.assert_allclose(restored, relevance, rtol=2**-11, atol=3e-8 * largest)
