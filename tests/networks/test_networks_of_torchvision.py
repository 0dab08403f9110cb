"""Every network of torchvision that classifies pictures, with random weights. Run by ``make test-networks``."""

import gc
import math

import pytest

from benchmarks.trial import RULES, names, too_large, tried

RELEVANCE_TOLERANCE = 1e-6
SCORE_TOLERANCE = 1e-4


@pytest.mark.networks
@pytest.mark.parametrize("name", names())
def test_a_network_is_added_and_explained_as_by_its_reference(name: str) -> None:
    if reason := too_large(name):
        pytest.skip(reason)
    trial = tried(name)
    gc.collect()  # before the next one needs memory
    print(trial.line)
    assert trial.refusal is None
    assert trial.score_error <= SCORE_TOLERANCE
    assert trial.relevance_error <= RELEVANCE_TOLERANCE
    assert trial.leaks.keys() == set(RULES)
    assert all(map(math.isfinite, trial.leaks.values()))
