"""Generated pictures that a tiny training can learn: lying and standing stripes."""

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
    """``count`` PNGs of each of two classes below ``folder``."""
    random = np.random.default_rng(seed)
    for name in ("lying", "standing"):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 60, (32, 32, 3), dtype=np.uint8)
            pixels[random.integers(4) :: 4] += 180
            standing = pixels.swapaxes(0, 1) if name == "standing" else pixels
            Image.fromarray(np.ascontiguousarray(standing)).save(folder / name / f"{number:03}.png")
    return folder


def write_data(folder: Path, count: int = 20) -> Path:
    """``train/`` and ``test/`` below ``folder``."""
    write_split(folder / "train", count, seed=0)
    write_split(folder / "test", count // 2, seed=1)
    return folder


def zipped(folder: Path, path: Path, *splits: str) -> Path:
    """These splits of ``folder`` in a zip."""
    with zipfile.ZipFile(path, "w") as archive:
        for split in splits:
            for file in (folder / split).rglob("*.png"):
                archive.write(file, file.relative_to(folder))
    return path
