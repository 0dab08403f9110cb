"""The engine with products in bfloat16: against float64, by formula, and what stays in float32."""

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from app.lrp.attribution import Attribution, output_relevance
from app.lrp.composites import COMPOSITES, resolve
from app.lrp.engine.engine import Engine
from app.lrp.engine.ops.affine import Convolution, Dense, Rounded
from app.lrp.graph.kinds import kinds
from app.lrp.graph.traced import TracedModel
from app.lrp.reference import Reference
from app.lrp.request import ExplanationRequest
from app.lrp.rules import RULES
from app.models.bounds import pixel_bounds
from app.models.checkpoint import load_image
from app.settings import shipped_model

BFLOAT16_STEP = 2**-8
"""Largest relative error of rounding to bfloat16, twice."""
EVERY_RULE = [*COMPOSITES, *RULES]


def pictures(count: int) -> Tensor:
    coarse = torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, size=32, mode="bilinear")


def attribution(engine: Engine | Reference, model: TracedModel, rule: str, inputs: Tensor) -> Attribution:
    composite = resolve(kinds(model.graph), rule, {}, [])
    return engine.attribute(
        inputs, composite, output_relevance([ExplanationRequest(composite)] * len(inputs))
    )


@pytest.mark.parametrize("rule", EVERY_RULE)
def test_maps_of_the_shipped_network_are_those_in_float64(rule: str) -> None:
    model, card = load_image(shipped_model())
    bounds = pixel_bounds(card.normalisation)
    inputs = pictures(8)
    rounded = attribution(Engine(model, *bounds, products=torch.bfloat16), model, rule, inputs)
    exact = model.map_weights(Tensor.double)
    expected = attribution(
        Reference(exact, *(bound.double() for bound in bounds)), exact, rule, inputs.double()
    )
    errors = (rounded.relevance - expected.relevance).flatten(1).norm(dim=1) / expected.relevance.flatten(
        1
    ).norm(dim=1)
    assert errors.median() <= 0.01
    assert errors.max() <= 0.02
    torch.testing.assert_close(rounded.output_relevance.double(), expected.output_relevance)


@pytest.mark.parametrize("rule", EVERY_RULE)
def test_scores_and_what_is_put_in_do_not_change(rule: str) -> None:
    model, card = load_image(shipped_model())
    engine = partial(Engine, model, *pixel_bounds(card.normalisation))
    exact, rounded = (
        attribution(engine(products=products), model, rule, pictures(4))
        for products in (None, torch.bfloat16)
    )
    torch.testing.assert_close(rounded.logits, exact.logits, rtol=1e-5, atol=1e-5)
    assert torch.equal(rounded.output_relevance, exact.output_relevance)
    assert rounded.relevance.dtype is torch.float32


def test_the_relevance_of_other_precisions_is_not_rounded() -> None:
    model, card = load_image(shipped_model())
    model = model.map_weights(Tensor.double)
    bounds = [bound.double() for bound in pixel_bounds(card.normalisation)]
    exact, rounded = (
        attribution(Engine(model, *bounds, products=products), model, "epsilon_plus", pictures(2).double())
        for products in (None, torch.bfloat16)
    )
    assert torch.equal(rounded.relevance, exact.relevance)


def test_a_dense_layer_multiplies_rounded_numbers_and_adds_the_bias_unrounded() -> None:
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(5, 12, generator=generator), torch.randn(7, 12, generator=generator)
    b = torch.full((7,), 1 + 2**-12)  # rounded to bfloat16 it would be 1
    layer = Rounded(Dense(), torch.bfloat16)
    expected = F.linear(x.bfloat16().double(), w.bfloat16().double())
    products = layer.map(w, b)(x) - b
    torch.testing.assert_close(products.double(), expected, rtol=BFLOAT16_STEP, atol=1e-6)
    assert torch.equal(layer.map(w, b)(torch.zeros(1, 12))[0], b)
    assert torch.equal(layer.map(w, b, floor=2.0)(torch.zeros(1, 12))[0], torch.full((7,), 2.0))


def test_a_convolution_multiplies_rounded_numbers_and_adds_the_bias_unrounded() -> None:
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(2, 3, 6, 6, generator=generator), torch.randn(4, 3, 3, 3, generator=generator)
    b = torch.full((4,), 1 + 2**-12)
    layer = Rounded(Convolution((3, 3), (1, 1), (1, 1), (1, 1), 1), torch.bfloat16)
    expected = F.conv2d(x.bfloat16().double(), w.bfloat16().double(), padding=1)
    products = layer.map(w, b)(x) - b.view(-1, 1, 1)
    torch.testing.assert_close(products.double(), expected, rtol=BFLOAT16_STEP, atol=1e-5)
    q = torch.randn(2, 4, 6, 6, generator=generator)
    transposed = F.conv_transpose2d(q.bfloat16().double(), w.bfloat16().double(), padding=1)
    torch.testing.assert_close(
        layer.transpose(w)(q, torch.Size((1, 3, 6, 6))).double(), transposed, rtol=BFLOAT16_STEP, atol=1e-5
    )


def test_even_weights_need_no_products() -> None:
    w = torch.ones(()).expand(4, 3, 3, 3)
    layer = Rounded(Convolution((3, 3), (1, 1), (1, 1), (1, 1), 1), torch.bfloat16)
    q = torch.full((1, 1, 5, 5), 1 + 2**-12)
    box = F.conv_transpose2d(q, torch.ones(1, 1, 3, 3), padding=1)
    assert torch.equal(layer.transpose(w)(q, torch.Size((1, 3, 5, 5))), box.expand(-1, 3, -1, -1))
