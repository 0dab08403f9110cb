"""Where relevance lies, for maps of which it is known; pooling; predictions against labels."""

import numpy as np
import pytest

from app.survey.arrays import unit
from app.survey.image.location import location_of, share_outside
from app.survey.image.pooling import grid_of, pixels_of, pooled, shares
from app.survey.predictions import Predictions


def test_channels_have_their_shares() -> None:
    maps = np.zeros((1, 3, 4, 4), np.float32)
    maps[0, 0, 0, 0], maps[0, 1, 1, 1], maps[0, 2, 2, 2] = 2, -1, 1
    assert location_of(maps).channels[0].tolist() == [0.5, 0.25, 0.25]


@pytest.mark.parametrize(("cycles", "band"), [(1, 0), (3, 1), (6, 2), (12, 3)])
def test_a_wave_is_in_the_band_of_its_frequency(cycles: int, band: int) -> None:
    wave = np.cos(2 * np.pi * cycles * np.arange(32) / 32).astype(np.float32)
    found = location_of(np.broadcast_to(wave, (1, 1, 32, 32)).copy()).bands[0]
    assert found.argmax() == band
    assert found[band] == pytest.approx(1)


def test_a_map_of_zeros_has_no_shares() -> None:
    found = location_of(np.zeros((1, 3, 4, 4), np.float32))
    assert np.isnan(found.channels).all()
    assert np.isnan(found.bands).all()


def test_relevance_outside_a_mask() -> None:
    relevance = np.array([[[1, -2], [3, 4]]], np.float32)
    assert share_outside(relevance, np.array([[True, False], [True, True]])) == pytest.approx(0.2)


def test_pooling_keeps_the_sum_for_any_size() -> None:
    maps = np.random.default_rng(0).normal(size=(2, 3, 37, 50)).astype(np.float32)
    grid = grid_of(37, 50)
    assert grid == (12, 16)
    found = pooled(maps, grid)
    assert found.shape == (2, *grid)
    np.testing.assert_allclose(found.sum((1, 2)), maps.sum((1, 2, 3)), rtol=1e-3)
    assert pixels_of(np.ones(grid, bool), 37, 50).shape == (37, 50)


def test_small_pictures_have_a_cell_for_each_pixel() -> None:
    assert grid_of(8, 8) == (8, 8)
    assert grid_of(1, 100) == (1, 16)


def test_zeros_stay_zeros() -> None:
    zeros = np.zeros((2, 2, 2), np.float32)
    assert not unit(zeros).any()
    assert not shares(zeros).any()


def test_predictions_against_labels() -> None:
    logits = np.log(np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]]))
    found = Predictions(logits, np.array([0, 1, 1, 2], np.int32))  # the model does not know the last label
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.confusion().tolist() == [[1, 0], [1, 1]]
    assert found.mistakes().tolist() == [1]
    assert np.isnan(found.correct[3])
    assert found.calibration_error() == pytest.approx((0.1 + 0.6 + 0.2) / 3)
    assert Predictions(logits[:1], np.array([5], np.int32)).accuracy is None
