"""The relevance that is put in at the output, row by row, against its definition in NumPy."""

import itertools

import numpy as np
import numpy.typing as npt
import pytest
import torch
from test_engine import minivgg

from app.lrp.attribution import output_relevance
from app.lrp.composites import resolve
from app.lrp.graph.kinds import kinds
from app.lrp.request import ExplanationRequest, Start, Target

LOGITS = np.array([[-1.5, 0.25, -0.5], [2.0, -3.0, 1.0], [-0.5, -2.0, -1.0], [0.0, -1.0, 3.0]])
DIVIDING, NOT_DIVIDING = "epsilon", "flat"
TARGETS = [
    Target(index, versus, start)
    for index, versus, start in itertools.product((None, 0, 2), (None, 1, 2), Start)
]


def expected(logits: npt.NDArray[np.float64], target: Target, divides_by_logit: bool) -> list[float]:
    amounts = {
        Start.ONE: [1.0] * len(logits),
        Start.LOGIT: logits.tolist(),
        Start.PROBABILITY: (np.exp(logits) / np.exp(logits).sum()).tolist(),
    }[target.start]
    if divides_by_logit:
        amounts = [-abs(a) if f < 0 else a for a, f in zip(amounts, logits, strict=True)]
    put_in = [0.0] * len(logits)
    index = int(logits.argmax()) if target.index is None else target.index
    put_in[index] += amounts[index]
    if target.versus is not None:
        put_in[target.versus] -= amounts[target.versus]
    return put_in


def request(rule: str, target: Target) -> ExplanationRequest:
    composite = resolve(kinds(minivgg().graph), rule, {}, [])
    assert composite.divides_by_logit == (rule == DIVIDING)
    return ExplanationRequest(composite, target)


@pytest.mark.parametrize("rule", [DIVIDING, NOT_DIVIDING])
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_a_row_gets_what_its_target_says(target: Target, rule: str) -> None:
    for logits in LOGITS:
        put_in = output_relevance([request(rule, target)])(torch.from_numpy(logits)[None])
        np.testing.assert_allclose(put_in, [expected(logits, target, rule == DIVIDING)], rtol=1e-12)


def test_rows_with_different_targets_get_their_own() -> None:
    pairs = list(itertools.product(TARGETS, (DIVIDING, NOT_DIVIDING)))
    logits = np.resize(LOGITS, (len(pairs), LOGITS.shape[1]))
    requests = [request(rule, target) for target, rule in pairs]
    put_in = output_relevance(requests)(torch.from_numpy(logits))
    for row, own, (target, rule) in zip(put_in, logits, pairs, strict=True):
        np.testing.assert_allclose(row, expected(own, target, rule == DIVIDING), rtol=1e-12)


def test_values_of_other_classes_do_not_matter() -> None:
    logits = torch.tensor([[1.0, torch.inf, -torch.inf]])
    put_in = output_relevance([request(DIVIDING, Target(0, None, Start.LOGIT))])(logits)
    assert put_in.tolist() == [[1.0, 0.0, 0.0]]
