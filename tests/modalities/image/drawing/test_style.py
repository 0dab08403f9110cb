"""What a style may be."""

import pytest

from app.errors import InvalidParameterError
from app.modalities.image.drawing.style import Size, Style, parse_size


@pytest.mark.parametrize("text", ["31", "1025", "big", "-1", "", "1e2"])
def test_a_bad_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameterError, match="size"):
        parse_size(text)


def test_a_misspelt_colour_map_is_corrected() -> None:
    with pytest.raises(InvalidParameterError, match="viridis"):
        Style(colormap="virids")


@pytest.mark.parametrize("vmax", [float("nan"), float("inf"), -1.0, 0.0, 1e-320, 1e308])
def test_a_scale_that_colours_cannot_have_is_refused(vmax: float) -> None:
    with pytest.raises(InvalidParameterError, match="vmax"):
        Style(vmax=vmax)


@pytest.mark.parametrize(
    ("text", "size"), [("model", "model"), ("input", "input"), ("32", 32), ("1024", 1024)]
)
def test_a_good_size_is_understood(text: str, size: Size) -> None:
    assert parse_size(text) == size
