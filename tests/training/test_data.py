"""Pictures are read the same from a folder and a zip, and nothing is taken for what it is not."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from synthetic_data import write_data, write_split, zipped

from app.errors import DataError
from app.training.augment import resize
from app.training.data import LabelledImages, hold_out, load_split, normalisation_of
from app.training.run import source


def same(a: LabelledImages, b: LabelledImages) -> bool:
    return a.classes == b.classes and torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)


def test_a_folder_and_a_zip_of_it_are_the_same_data(tmp_path: Path) -> None:
    folder = write_data(tmp_path / "data", 3)
    archive = zipped(folder, tmp_path / "data.zip", "train", "test")
    for split in ("train", "test"):
        assert same(load_split(folder, split), load_split(archive, split))


def test_classes_are_numbered_alphabetically(tmp_path: Path) -> None:
    data = load_split(write_data(tmp_path, 3), "train")
    assert data.classes == ("lying", "standing")
    assert data.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.images.shape == (6, 3, 32, 32)
    assert data.images.dtype == torch.uint8


def test_test_pictures_are_found_in_the_data_or_beside_them(tmp_path: Path) -> None:
    folder = write_data(tmp_path / "data", 2)
    both = zipped(folder, tmp_path / "both.zip", "train", "test")
    beside = zipped(folder, tmp_path / "train.zip", "train")
    zipped(folder, tmp_path / "test.zip", "test")
    expected = load_split(folder, "test")
    for data in (folder, both, beside, folder / "train"):
        assert same(source(data, None, tmp_path)("test"), expected), data
    assert same(source(folder / "train", folder / "test", tmp_path)("test"), expected)


def test_training_pictures_are_never_taken_for_the_test(tmp_path: Path) -> None:
    flat = write_split(tmp_path / "flat", 2, seed=0)
    with pytest.raises(DataError, match="--test-data"):
        source(flat, None, tmp_path)
    with pytest.raises(DataError, match="--test-data"):
        source(zipped(tmp_path, tmp_path / "flat.zip", "flat"), None, tmp_path)


def test_data_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        source(tmp_path / "nowhere", None, tmp_path)
    with pytest.raises(DataError, match="nowhere"):
        source(write_data(tmp_path / "data", 1), tmp_path / "nowhere", tmp_path)
    with pytest.raises(DataError, match="no pictures"):
        load_split(tmp_path / "data" / "train" / "lying", "train")


@pytest.mark.parametrize("kept", [0, 8, 100])
def test_a_truncated_picture_is_named(tmp_path: Path, kept: int) -> None:
    file = tmp_path / "train" / "cat" / "broken.png"
    file.parent.mkdir(parents=True)
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(
        buffer, "PNG"
    )
    file.write_bytes(buffer.getvalue()[:kept])
    with pytest.raises(DataError, match=r"broken\.png"):
        load_split(tmp_path, "train")


def test_a_picture_of_another_size_is_named(tmp_path: Path) -> None:
    file = tmp_path / "train" / "cat" / "large.png"
    file.parent.mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(file)
    with pytest.raises(DataError, match=r"large\.png: 40×30"):
        load_split(tmp_path, "train")


def test_held_out_pictures_are_none_of_the_others_and_the_seeds_own() -> None:
    count = 50
    numbered = LabelledImages(torch.zeros(count, 1), torch.arange(count), ())
    rest, held_out = hold_out(numbered, 5, seed=0)
    assert sorted([*rest.labels.tolist(), *held_out.labels.tolist()]) == list(range(count))
    assert len(held_out) == 5
    assert held_out.labels.tolist() == hold_out(numbered, 5, seed=0)[1].labels.tolist()
    assert held_out.labels.tolist() != hold_out(numbered, 5, seed=1)[1].labels.tolist()


def test_normalisation_is_the_mean_and_deviation_of_all_pixels() -> None:
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    by_torch = images.double().div(255).transpose(0, 1).flatten(1)
    found = normalisation_of(images)
    assert found.mean == pytest.approx(by_torch.mean(1).tolist(), abs=1e-6)
    assert found.std == pytest.approx(by_torch.std(1, correction=0).tolist(), abs=1e-6)


def test_resizing_keeps_the_brightness() -> None:
    small = resize(torch.full((1, 3, 32, 32), 0.3), 20)
    torch.testing.assert_close(small, torch.full((1, 3, 20, 20), 0.3))
