"""``survey --ray``: the same findings as without Ray."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from synthetic_data import write_split
from test_cli import GREY

from app.models.architectures.minivgg import MiniVGG
from app.models.checkpoint import save

LIMIT_S = 240


def survey(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "app.cli", "survey", *arguments, "--device=cpu"]
    paths = {"PYTHONPATH": str(Path(__file__).parents[2]), "LRP_CORES": "1"}
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | paths,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


@pytest.fixture
def card(tmp_path: Path) -> Path:
    write_split(tmp_path / "data", 8, seed=0)
    (tmp_path / "data" / "vertical" / "broken.png").write_bytes(b"none")
    return save(MiniVGG(2), tmp_path, name="m", classes=("horizontal", "vertical"), normalisation=GREY)


def test_a_survey_of_a_zip_on_ray_finds_the_same(tmp_path: Path, card: Path) -> None:
    subprocess.run([sys.executable, "-m", "zipfile", "-c", "data.zip", "data"], cwd=tmp_path, check=True)
    same = ("data.zip", f"--model={card}", "--rule=gamma", "--gamma=0.5")
    here, on_ray = survey(tmp_path, *same, "--out=here"), survey(tmp_path, *same, "--out=ray", "--ray")
    assert (here.returncode, on_ray.returncode) == (0, 0), on_ray.stderr
    assert on_ray.stdout.replace("ray/", "here/") == here.stdout
    folders = (tmp_path / "here", tmp_path / "ray")
    names = [{path.name for path in folder.iterdir()} for folder in folders]
    assert names[0] == names[1]
    ours, theirs = (pq.read_table(folder / "items.parquet").to_pylist() for folder in folders)
    assert len(ours) == 17
    for row, other in zip(ours, theirs, strict=True):
        assert_close(row, other)
    with h5py.File(folders[0] / "relevance.h5") as expected, h5py.File(folders[1] / "relevance.h5") as found:
        np.testing.assert_allclose(found["attribution"], expected["attribution"], atol=2e-3)
        np.testing.assert_array_equal(found["data"], expected["data"])
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in folders]
    assert summaries[0]["parameters"] == summaries[1]["parameters"] == {"gamma": 0.5}


def assert_close(row: dict[str, Any], other: dict[str, Any]) -> None:
    for name, value in row.items():
        first = value[0] if isinstance(value, list) and value else value
        is_number = isinstance(first, float)
        if name not in ("x", "y"):  # t-SNE magnifies rounding
            assert other[name] == (pytest.approx(value, rel=1e-2, abs=1e-5) if is_number else value), name


def test_texts_are_explained_on_ray(tmp_path: Path) -> None:
    (tmp_path / "texts.tsv").write_text("a good film\t1\nnot good\t0\n\na bad, bad film\t0\n")
    here, on_ray = survey(tmp_path, "texts.tsv"), survey(tmp_path, "texts.tsv", "--out=ray", "--ray")
    assert (here.returncode, on_ray.returncode) == (0, 0), on_ray.stderr
    assert on_ray.stdout.replace("ray/", "texts-survey/") == here.stdout
    assert "3 items explained" in here.stdout
