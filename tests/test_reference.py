"""Zennit behind our signature."""

import copy

import pytest
import torch
from torch import nn
from zennit.composites import EpsilonAlpha2Beta1Flat, EpsilonGammaBox, EpsilonPlusFlat

from app.lrp.composites import resolve
from app.lrp.reference import Reference
from app.lrp.seed import Question, Start, seed
from app.models.minivgg import MiniVGG

LOW, HIGH = (torch.full((1, 3, 1, 1), value, dtype=torch.float64) for value in (-2.0, 2.0))


@pytest.fixture
def model() -> MiniVGG:
    torch.manual_seed(0)
    return MiniVGG().eval().double()


@pytest.fixture
def inputs() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("epsilon_plus_flat", EpsilonPlusFlat()),
        ("epsilon_gamma_box", EpsilonGammaBox(low=LOW, high=HIGH)),
        ("epsilon_alpha2_beta1_flat", EpsilonAlpha2Beta1Flat()),
    ],
)
def test_a_composite_is_zennits(model: MiniVGG, inputs: torch.Tensor, name: str, theirs: object) -> None:
    ours = Reference(model, LOW, HIGH).explain(inputs, resolve(model, name, {}, []), seed([Question(1)] * 2))
    plain = copy.deepcopy(model)
    for layer in plain.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    x = inputs.clone().requires_grad_()
    with theirs.context(plain) as hooked:  # type: ignore[attr-defined] # Zennit has no types
        (relevance,) = torch.autograd.grad(hooked(x)[:, 1].sum(), x)
    torch.testing.assert_close(ours.relevance, relevance, rtol=1e-10, atol=1e-14)


def test_lrp_0_is_gradient_times_input(model: MiniVGG, inputs: torch.Tensor) -> None:
    ours = Reference(model, LOW, HIGH).explain(
        inputs, resolve(model, "zero", {}, []), seed([Question(4, None, Start.LOGIT)] * 2)
    )
    x = inputs.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[:, 4].sum(), x)
    torch.testing.assert_close(ours.relevance, inputs * gradient, rtol=1e-9, atol=1e-12)


def test_rows_of_a_batch_equal_solo_runs(model: MiniVGG, inputs: torch.Tensor) -> None:
    reference, composite = Reference(model, LOW, HIGH), resolve(model, "epsilon_plus_flat", {}, [])
    questions = [Question(3), Question(7, 1)]
    together = reference.explain(inputs, composite, seed(questions)).relevance
    for row, question in enumerate(questions):
        alone = reference.explain(inputs[row : row + 1], composite, seed([question])).relevance
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-10, atol=1e-14)


def test_the_callers_network_is_untouched_even_after_a_crash(model: MiniVGG, inputs: torch.Tensor) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    reference, composite = Reference(model, LOW, HIGH), resolve(model, "epsilon_gamma_box", {}, [])
    right = reference.explain(inputs, composite, seed([Question()] * 2)).relevance

    def crash(_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("while hooks are set")

    with pytest.raises(RuntimeError, match="while hooks"):
        reference.explain(inputs, composite, crash)
    again = reference.explain(inputs, composite, seed([Question()] * 2)).relevance
    assert torch.equal(right, again)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
