"""Datasets are read from folders and zips, and refused if splits, images or classes are missing or invalid."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from synthetic_data import write_data, write_split, write_zip

from app.errors import DataError
from app.training.augment import resize
from app.training.data import LabelledImages, compute_normalisation, hold_out, load_split
from app.training.run import split_loader


def same(a: LabelledImages, b: LabelledImages) -> bool:
    return a.classes == b.classes and torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)


def test_a_folder_and_its_zip_give_the_same_data(tmp_path: Path) -> None:
    folder = write_data(tmp_path / "data", 3)
    archive = write_zip(folder, tmp_path / "data.zip", "train", "test")
    for split in ("train", "test"):
        assert same(load_split(folder, split), load_split(archive, split))


def test_classes_are_numbered_alphabetically(tmp_path: Path) -> None:
    data = load_split(write_data(tmp_path, 3), "train")
    assert data.classes == ("horizontal", "vertical")
    assert data.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.images.shape == (6, 3, 32, 32)
    assert data.images.dtype == torch.uint8


def test_test_images_are_found_in_the_data_or_next_to_them(tmp_path: Path) -> None:
    folder = write_data(tmp_path / "data", 2)
    both_splits = write_zip(folder, tmp_path / "both.zip", "train", "test")
    train_only = write_zip(folder, tmp_path / "train.zip", "train")
    write_zip(folder, tmp_path / "test.zip", "test")
    expected = load_split(folder, "test")
    for data in (folder, both_splits, train_only, folder / "train"):
        assert same(split_loader(data, None, tmp_path)("test"), expected), data
    assert same(split_loader(folder / "train", folder / "test", tmp_path)("test"), expected)


def test_training_images_are_not_used_as_test_images(tmp_path: Path) -> None:
    flat = write_split(tmp_path / "flat", 2, seed=0)
    with pytest.raises(DataError, match="--test-data"):
        split_loader(flat, None, tmp_path)
    with pytest.raises(DataError, match="--test-data"):
        split_loader(write_zip(tmp_path, tmp_path / "flat.zip", "flat"), None, tmp_path)


def test_missing_data_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        split_loader(tmp_path / "nowhere", None, tmp_path)
    with pytest.raises(DataError, match="nowhere"):
        split_loader(write_data(tmp_path / "data", 1), tmp_path / "nowhere", tmp_path)
    with pytest.raises(DataError, match="no pictures"):
        load_split(tmp_path / "data" / "train" / "horizontal", "train")


@pytest.mark.parametrize("length", [0, 8, 100])
def test_a_truncated_image_is_refused_by_name(tmp_path: Path, length: int) -> None:
    file = tmp_path / "train" / "cat" / "broken.png"
    file.parent.mkdir(parents=True)
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(
        buffer, "PNG"
    )
    file.write_bytes(buffer.getvalue()[:length])
    with pytest.raises(DataError, match=r"broken\.png"):
        load_split(tmp_path, "train")


def test_an_image_of_another_size_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "train" / "cat" / "large.png"
    file.parent.mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(file)
    with pytest.raises(DataError, match=r"large\.png: 40×30"):
        load_split(tmp_path, "train")


def test_held_out_images_are_disjoint_from_the_others_and_depend_on_the_seed() -> None:
    count = 50
    numbered = LabelledImages(torch.zeros(count, 1), torch.arange(count), ())
    rest, held_out = hold_out(numbered, 5, seed=0)
    assert sorted([*rest.labels.tolist(), *held_out.labels.tolist()]) == list(range(count))
    assert len(held_out) == 5
    assert held_out.labels.tolist() == hold_out(numbered, 5, seed=0)[1].labels.tolist()
    assert held_out.labels.tolist() != hold_out(numbered, 5, seed=1)[1].labels.tolist()


def test_normalisation_is_the_mean_and_standard_deviation_of_all_pixels() -> None:
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    by_torch = images.double().div(255).transpose(0, 1).flatten(1)
    found = compute_normalisation(images)
    assert found.mean == pytest.approx(by_torch.mean(1).tolist(), abs=1e-6)
    assert found.std == pytest.approx(by_torch.std(1, correction=0).tolist(), abs=1e-6)


def test_resizing_keeps_the_mean() -> None:
    small = resize(torch.full((1, 3, 32, 32), 0.3), 20)
    torch.testing.assert_close(small, torch.full((1, 3, 20, 20), 0.3))
