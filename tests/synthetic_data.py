"""A synthetic dataset that a network learns in a few epochs: images of horizontal and vertical stripes."""

import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from app.training.recipe import Recipe, Stage

TINY = Recipe(
    name="talk",
    stages=(Stage(2, 16), Stage(1, 32)),
    optimizer="sgd",
    learning_rate=0.05,
    batch_size=12,
    warmup=0.2,
    batch_norm=True,
    whiten=True,
    dropout=(0.0, 0.0, 0.0),
    shift=2,
    average_decay=0.5,
)


def write_split(folder: Path, count: int, seed: int) -> Path:
    """Write ``count`` PNGs of each of the two classes to ``folder``."""
    random = np.random.default_rng(seed)
    for name in ("horizontal", "vertical"):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 60, (32, 32, 3), dtype=np.uint8)
            pixels[random.integers(4) :: 4] += 180
            oriented = pixels.swapaxes(0, 1) if name == "vertical" else pixels
            Image.fromarray(np.ascontiguousarray(oriented)).save(folder / name / f"{number:03}.png")
    return folder


def write_data(folder: Path, count: int = 20) -> Path:
    """Write the splits ``train/``, ``count`` images of each class, and ``test/``, half as many, to ``folder``."""
    write_split(folder / "train", count, seed=0)
    write_split(folder / "test", count // 2, seed=1)
    return folder


def write_zip(folder: Path, path: Path, *splits: str) -> Path:
    """Write these splits of ``folder`` to a zip."""
    with zipfile.ZipFile(path, "w") as archive:
        for split in splits:
            for file in (folder / split).rglob("*.png"):
                archive.write(file, file.relative_to(folder))
    return path
