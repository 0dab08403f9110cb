"""Several maps on one sheet."""

import io
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from app.modalities.image.drawing.contact_sheet import contact_sheet
from app.modalities.image.drawing.grid import scale_of
from app.modalities.image.drawing.style import Size, Style

RED = (103, 0, 31)


def sheet(size: Size, maps: Sequence[np.ndarray], seen: Image.Image) -> np.ndarray:
    """A column of ``maps`` on one sheet, as pixels."""
    style = Style(size=size)
    rows = {f"rule {number}": [relevance] for number, relevance in enumerate(maps)}
    drawn = contact_sheet(rows, ["why?"], style, scale_of(maps, style), seen, {})
    with Image.open(io.BytesIO(drawn.png)) as image:
        return np.asarray(image)


@pytest.mark.parametrize(
    ("shape", "size", "tile"),
    [
        ((32, 32), "model", (32, 32)),
        ((32, 32), 128, (128, 128)),
        ((48, 64), "model", (48, 64)),
        ((48, 64), 128, (96, 128)),
        ((48, 64), 1024, (192, 256)),
    ],
)
def test_maps_keep_the_shape_of_the_model(shape: tuple[int, int], size: Size, tile: tuple[int, int]) -> None:
    pixels = sheet(size, [np.ones(shape)] * 2, Image.new("RGB", shape[::-1], "lime"))
    red, green = (pixels == RED).all(2), (pixels == (0, 255, 0)).all(2)
    assert green.sum() == tile[0] * tile[1]  # what the model saw
    columns = np.flatnonzero(red.sum(0) >= 2 * tile[0])
    assert len(columns) == tile[1]
    assert red[:, columns].sum() == 2 * tile[0] * tile[1]
    assert not (red & green).any()


def test_what_a_model_of_one_channel_saw_is_grey() -> None:
    pixels = sheet("model", [np.ones((48, 64))], Image.new("L", (64, 48), 77))
    assert (pixels[16 : 16 + 48, 16 : 16 + 64] == 77).all()  # in the corner, behind a margin
