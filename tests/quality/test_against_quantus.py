"""The measures against Quantus 0.6 (Hedström et al. 2023), on the same maps of the shipped network.

Where its definitions differ, the tests give it what makes them the same, and say so.
"""

import functools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from app.lrp.attribution import output_relevance
from app.lrp.composites import resolve
from app.lrp.engine.engine import Engine
from app.lrp.graph.kinds import kinds
from app.lrp.request import ExplanationRequest, Target
from app.models.architectures.minivgg import MiniVGG
from app.models.architectures.registry import as_graph
from app.models.bounds import pixel_bounds
from app.models.checkpoint import load_image, load_module
from app.models.local import LocalModel
from app.models.protocol import Job
from app.models.randomized import SEED
from app.quality.perturbation import group_sums, patch_groups, perturbation_curves
from app.quality.randomization import similarity
from app.quality.sensitivity import inputs_nearby, max_sensitivity
from app.quality.sparseness import gini
from app.settings import shipped_model

Floats = Any
"""NumPy arrays, as Quantus has no types."""

GROUPS = patch_groups(32, 32, 8)
RULES = ["epsilon_plus_flat", "epsilon_gamma_box"]

pytestmark = pytest.mark.filterwarnings("ignore")  # it uses what NumPy and others have deprecated


@pytest.fixture(scope="module")
def quantus() -> Iterator[Any]:
    """The library, with the function that NumPy 2.4 no longer has."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(np, "trapz", np.trapezoid, raising=False)
        import quantus

        yield quantus


@pytest.fixture(scope="module")
def network() -> MiniVGG:
    return load_module(shipped_model())[0]


@pytest.fixture(scope="module")
def inputs(cat: Any) -> Floats:
    """Two pieces of the cat, (2, 3, 32, 32)."""
    card = load_image(shipped_model())[1]
    pieces = [cat.crop((left, 20, left + 220, 240)).resize((32, 32)) for left in (60, 130)]
    pixels = np.stack([np.asarray(piece, np.float32).transpose(2, 0, 1) / 255 for piece in pieces])
    mean, std = (np.reshape(v, (3, 1, 1)) for v in (card.normalisation.mean, card.normalisation.std))
    return ((pixels - mean) / std).astype(np.float32)


def classes(network: MiniVGG, inputs: Floats) -> Floats:
    with torch.inference_mode():
        return network(torch.from_numpy(inputs)).argmax(1).numpy()


def explain(model: MiniVGG, inputs: Floats, targets: Floats, rule: str = "", **_: Any) -> Floats:
    """Maps (n, 3, 32, 32) of ``model``; Quantus's interface of an explanation function."""
    graph = as_graph(model)
    engine = Engine(graph, *pixel_bounds(load_image(shipped_model())[1].normalisation))
    composite = resolve(kinds(graph.graph), rule, {}, [])
    requests = [ExplanationRequest(composite, Target(int(target))) for target in targets]
    x = torch.from_numpy(np.asarray(inputs, np.float32))
    return engine.attribute(x, composite, output_relevance(requests)).relevance.numpy()


def probability(network: MiniVGG, target: int, inputs: Floats) -> Floats:
    with torch.inference_mode():
        return network(torch.from_numpy(inputs)).softmax(1)[:, target].numpy()


@pytest.mark.parametrize("rule", RULES)
def test_pixel_flipping(quantus: Any, network: MiniVGG, inputs: Floats, rule: str) -> None:
    """Quantus flips single values in their order: it is given each patch's sum at all of its values. As many are
    flipped in a step as a patch has pixels, because a step must divide the pixels: three steps, one a channel.
    It refuses maps that are nowhere positive, so that the mean of the sums is subtracted, which keeps the order.
    """
    targets = classes(network, inputs)
    relevance = explain(network, inputs, targets, rule)
    scores = [group_sums(one, GROUPS) for one in relevance]
    for sign, name in ((1, "most_relevant_first"), (-1, "least_relevant_first")):
        flipping = quantus.PixelFlipping(
            features_in_step=8 * 8,
            perturb_baseline=0.0,  # the mean colour
            abs=False,
            normalise=False,
            return_auc_per_sample=False,
            disable_warnings=True,
        )
        spread = np.stack([np.broadcast_to(sign * (one - one.mean())[GROUPS], (3, 32, 32)) for one in scores])
        theirs = flipping(network, inputs, targets, a_batch=spread, softmax=True, device="cpu")
        for x, target, one, expected in zip(inputs, targets, scores, theirs, strict=True):
            of_target = functools.partial(probability, network, int(target))
            curves = perturbation_curves(of_target, x, np.zeros_like(x), GROUPS, one)
            np.testing.assert_allclose(getattr(curves, name), expected[2::3], atol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_max_sensitivity(quantus: Any, network: MiniVGG, inputs: Floats, rule: str) -> None:
    """Quantus draws other noise, without the pixels' range: it is given our inputs nearby, of which all keep the
    class. Where one changes it, Quantus's maximum is NaN or includes it; ours leaves it out.
    """
    targets, (low, high) = (
        classes(network, inputs),
        pixel_bounds(load_image(shipped_model())[1].normalisation),
    )
    for x, target in zip(inputs, targets, strict=True):
        nearby = inputs_nearby(x, low.numpy()[0], high.numpy()[0], 0.01, 5, seed=0)
        assert (classes(network, nearby) == target).all()
        (original,) = explain(network, x[None], [target], rule)
        others = explain(network, nearby, np.repeat(target, 5), rule)
        remaining = iter(nearby)
        metric = quantus.MaxSensitivity(
            nr_samples=5,
            perturb_func=lambda arr, remaining=remaining, **_: next(remaining).reshape(arr.shape),
            abs=False,
            normalise=False,
            disable_warnings=True,
            return_nan_when_prediction_changes=True,
        )
        (theirs,) = metric(
            network,
            x[None],
            target[None],
            explain_func=functools.partial(explain, rule=rule),
            device="cpu",
        )
        assert max_sensitivity(original, others) == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_sparseness(quantus: Any, network: MiniVGG, inputs: Floats, rule: str) -> None:
    """Quantus adds 1e-7 to each magnitude, and scales maps to 1: with that, the tolerance is for."""
    targets = classes(network, inputs)
    relevance = explain(network, inputs, targets, rule).sum(1, keepdims=True)  # (n, 1, 32, 32)
    metric = quantus.Sparseness(abs=True, normalise=True, disable_warnings=True)
    theirs = metric(network, inputs, targets, a_batch=relevance, device="cpu")
    assert [gini(one) for one in relevance] == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_parameter_randomisation(quantus: Any, network: MiniVGG, inputs: Floats, rule: str) -> None:
    """From the output down, with signs: Quantus's defaults are single layers and magnitudes."""

    def summed(model: MiniVGG, inputs: Floats, targets: Floats, **_: Any) -> Floats:
        return explain(model, inputs, targets, rule).sum(1, keepdims=True)

    targets = classes(network, inputs)
    metric = quantus.MPRT(
        layer_order="top_down", seed=SEED, abs=False, normalise=False, disable_warnings=True
    )
    theirs = metric(
        network, inputs, targets, a_batch=summed(network, inputs, targets), explain_func=summed, device="cpu"
    )
    model = LocalModel.load(shipped_model(), "cpu", None)
    layers = [name for name, kind in model.description.chain if kind != "other"][::-1]
    assert list(theirs) == ["original", *layers]
    composite = resolve(model.description.chain, rule, {}, [])
    for depth, layer in enumerate(layers, 1):
        requests = [ExplanationRequest(composite, Target(int(target))) for target in targets]
        jobs = [Job(x, (one,), randomized=depth) for x, one in zip(inputs, requests, strict=True)]
        maps = [result.explanations[0].relevance for result in model.run(jobs)]
        originals = explain(network, inputs, targets, rule)
        ours = [similarity(*pair) for pair in zip(originals, maps, strict=True)]
        assert ours == pytest.approx(theirs[layer], abs=1e-4)
