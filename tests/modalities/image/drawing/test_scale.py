"""What the colours mean."""

import itertools

import numpy as np
from drawn import RELEVANCE, SPEC, pixels
from PIL import Image

from app.modalities.drawing.style import Normalize, Sign
from app.modalities.image.drawing.backdrop import backdrop_of
from app.modalities.image.drawing.render import render
from app.modalities.image.drawing.style import Style
from app.modalities.image.picture import Picture, Rectangle


def test_zero_is_the_middle_and_the_largest_value_an_end(cat: Image.Image) -> None:
    shown = pixels(Style(size="model"), cat)
    assert abs(shown[0, 0] - 247).max() <= 1  # near-white
    assert shown[3, 4, 0] > shown[3, 4, 2]  # red speaks for the class
    assert shown[10, 20, 2] > shown[10, 20, 0]  # blue against it


def test_vmax_fixes_the_scale(cat: Image.Image) -> None:
    one = pixels(Style(size="model", vmax=4.0), cat)
    two = pixels(Style(size="model", vmax=4.0), cat, RELEVANCE * 2)
    assert (pixels(Style(size="model"), cat) == pixels(Style(size="model"), cat, RELEVANCE * 2)).all()
    assert (one != two).any()


def test_signs_can_be_shown_alone(cat: Image.Image) -> None:
    positive = pixels(Style(size="model", sign=Sign.POSITIVE), cat)
    assert (positive[10, 20] == positive[0, 0]).all()
    assert (positive[3, 4] != positive[0, 0]).any()


def test_a_constant_map_is_drawn_without_a_scale(cat: Image.Image) -> None:
    for normalize, value in itertools.product(Normalize, (0.0, 1.0)):
        pixels(Style(size="model", normalize=normalize), cat, np.full((32, 32), value, np.float32))


def test_the_ends_of_a_symmetric_scale_are_the_ends_of_the_colour_map(cat: Image.Image) -> None:
    relevance = np.linspace(-5, 5, 32 * 32).reshape(32, 32)
    shown = pixels(Style(size="model"), cat, relevance)
    assert tuple(shown[0, 0]) == (5, 48, 97)
    assert tuple(shown[-1, -1]) == (103, 0, 31)
    assert (pixels(Style(size="model", vmax=2.5), cat, relevance)[-8:] == (103, 0, 31)).all()


def test_absolute_relevance_is_neutral_at_zero_and_the_same_for_both_signs(cat: Image.Image) -> None:
    both = np.where(RELEVANCE < 0, 2 * RELEVANCE, RELEVANCE)
    for name, neutral in (("RdBu_r", (247, 247, 247)), ("gray", (0, 0, 0))):
        shown = pixels(Style(size="model", normalize=Normalize.ABSOLUTE, colormap=name), cat, both)
        assert tuple(shown[0, 0]) == neutral
        assert (shown[3, 4] == shown[10, 20]).all()
        assert tuple(shown[3, 4]) != neutral


def test_minmax_spans_the_colour_map_from_the_lowest_to_the_highest_value(cat: Image.Image) -> None:
    style = Style(size="model", normalize=Normalize.MINMAX, colormap="gray")
    shown = pixels(style, cat, np.linspace(5, 7, 1024).reshape(32, 32))
    assert (shown[0, 0] == 0).all()
    assert (shown[-1, -1] == 255).all()
    assert (np.diff(shown[..., 0].ravel()) >= 0).all()


def test_negative_relevance_alone_hides_the_positive(cat: Image.Image) -> None:
    shown = pixels(Style(size="model", sign=Sign.NEGATIVE), cat)
    assert (shown[3, 4] == shown[0, 0]).all()
    assert tuple(shown[10, 20]) == (5, 48, 97)


def test_the_scale_that_is_said_is_the_one_that_is_drawn(cat: Image.Image) -> None:
    def scale(style: Style) -> tuple[float, float]:
        heatmap = render(
            RELEVANCE, style, backdrop_of(Picture(cat, "PNG"), style, SPEC), Rectangle(75, 0, 300, 300), {}
        )
        return heatmap.vmin, heatmap.vmax

    assert scale(Style()) == (-2, 2)
    assert scale(Style(vmax=4.0)) == (-4, 4)
    assert scale(Style(normalize=Normalize.MINMAX)) == (-1, 2)
    assert scale(Style(normalize=Normalize.ABSOLUTE)) == (0, 2)
    assert scale(Style(sign=Sign.NEGATIVE)) == (-1, 1)
