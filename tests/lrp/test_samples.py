"""Samples against matrix algebra, autograd, Zennit and NumPy, all with the same random numbers."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import oracle
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from tracing import traced
from zennit import rules as zennit_rules

from app.lrp.attribution import SampledAttributions
from app.lrp.composites import COMPOSITES, resolve
from app.lrp.engine.engine import Engine
from app.lrp.graph.kinds import kinds
from app.lrp.graph.traced import TracedModel
from app.lrp.reference import Reference
from app.lrp.request import ExplanationRequest, Start, Target
from app.lrp.rules import RULES
from app.lrp.samples import Samples, SampleStatistics, Sampling, Statistic
from app.lrp.statistics import statistic_of, statistics
from app.models.checkpoint import load_image
from app.settings import shipped_model

F64 = torch.float64
LOW, HIGH = -2.0, 2.0
RATES = (0.35, 0.0, 0.45)
Engines = type[Engine] | type[Reference]


def network(*, bias: bool = True, rates: Sequence[float] = RATES) -> nn.Sequential:
    """Three dropout layers, of which the second drops channels: (B, 2, 8, 8) -> (B, 5)."""
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, bias=bias),
        nn.ReLU(),
        nn.Dropout(rates[0]),
        nn.Conv2d(6, 8, 3, padding=1, bias=bias),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout2d(rates[1]),
        nn.Conv2d(8, 8, 3, bias=bias),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 12, bias=bias),
        nn.ReLU(),
        nn.Dropout(rates[2]),
        nn.Linear(12, 5, bias=bias),
    ).to(F64)


def picture() -> Tensor:
    return torch.randn(1, 2, 8, 8, dtype=F64, generator=torch.Generator().manual_seed(2)).clamp(LOW, HIGH)


@cache
def traced_network(*, bias: bool = True, rates: Sequence[float] = RATES) -> TracedModel:
    return traced(network(bias=bias, rates=rates), 2, 8, 8)


def request_of(
    model: TracedModel, rule: str, target: Target | None = None, layer: str | None = None
) -> ExplanationRequest:
    return ExplanationRequest(resolve(kinds(model.graph), rule, {}, []), target or Target(), layer)


def sampled(
    engine: Engines,
    model: TracedModel,
    requests: Sequence[ExplanationRequest],
    samples: Samples,
    rows: int = 32,
) -> SampledAttributions:
    low, high = torch.tensor(LOW, dtype=F64), torch.tensor(HIGH, dtype=F64)
    return engine(model, low, high).sample(picture(), requests, samples, rows)


def relative(ours: Any, theirs: Any) -> float:
    a, b = np.asarray(ours), np.asarray(theirs)
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def masks_of(samples: Samples) -> dict[int, npt.NDArray[np.bool_]]:
    """Masks of the dropout layers of `network` that drop anything, in each sample, by index of layer."""
    shapes = {2: (6, 8, 8), 12: (12,)}
    found = samples.masks(range(samples.count), [(shapes[2], RATES[0]), (shapes[12], RATES[2])])
    return dict(zip(shapes, found, strict=True))


# Against other computations, in float64


@pytest.mark.parametrize("rule", [*COMPOSITES, *RULES])
def test_dropout_samples_equal_matrix_algebra(rule: str) -> None:
    model, samples = traced_network(), Samples(3, seed=7)
    request = request_of(model, rule, Target(2, 4, Start.LOGIT))
    ours = sampled(Engine, model, [request], samples)
    logits = ours.logits.numpy()
    start = np.zeros(5)
    start[2], start[4] = logits[2], -logits[4]
    rules = [(one.name, dict(one.parameters)) for _, one in request.composite.layers]
    for number in range(3):
        kept = {index: mask[number] for index, mask in masks_of(samples).items()}
        relevance, logits_of_sample = by_algebra(network(), rules, kept, start)
        assert relative(ours.attributions[0].relevance[number], relevance) < 1e-10
        np.testing.assert_allclose(ours.sample_logits[number], logits_of_sample, rtol=1e-10)


def by_algebra(
    model: nn.Sequential,
    rules: Sequence[tuple[str, Mapping[str, float]]],
    kept: Mapping[int, npt.NDArray[np.bool_]],
    R: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Relevance of the input, which dropout passes unchanged, and the logits."""
    x, inputs = picture()[0].numpy(), []
    for index, layer in enumerate(model):
        inputs.append(x)
        if isinstance(layer, nn.Dropout | nn.Dropout2d):
            x = x * kept[index] / (1 - layer.p) if index in kept else x
        else:
            x = oracle.forward(layer, x)
    logits = x
    for layer, a, (rule, parameters) in zip(reversed(model), reversed(inputs), reversed(rules), strict=True):
        R = oracle.backward(layer, a, R, rule, parameters, LOW, HIGH)
    return R, logits


def test_lrp_0_of_a_dropout_sample_is_its_input_times_gradient() -> None:
    model, samples = traced_network(), Samples(4, seed=3)
    ours = sampled(Engine, model, [request_of(model, "zero", Target(1, start=Start.LOGIT))], samples)
    f = float(ours.logits[1])
    for number in range(4):
        x = picture().requires_grad_()
        y = x
        for index, layer in enumerate(network()):
            if index in (2, 12):
                y = (
                    y
                    * torch.from_numpy(masks_of(samples)[index][number])
                    / (1 - RATES[0 if index == 2 else 2])
                )
            elif not isinstance(layer, nn.Dropout2d):
                y = layer(y)
        (gradient,) = torch.autograd.grad(y[0, 1], x)
        expected = (x * gradient * f / y[0, 1]).detach()[0]  # the start is the logit without dropout
        assert relative(ours.attributions[0].relevance[number], expected) < 1e-10


class Multiplied(nn.Module):
    """Dropout as a multiplication."""

    def __init__(self, factors: Tensor) -> None:
        super().__init__()
        self.factors = factors

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factors


def test_dropout_samples_equal_zennit_on_the_network_with_masks_as_multiplications() -> None:
    model, samples = traced_network(), Samples(3)
    ours = sampled(Engine, model, [request_of(model, "epsilon_plus_flat", Target(0))], samples)
    for number in range(3):
        explicit = network()
        for index, rate in ((2, RATES[0]), (12, RATES[2])):
            explicit[index] = Multiplied(
                torch.from_numpy(masks_of(samples)[index][number]).to(F64) / (1 - rate)
            )
        flat = [zennit_rules.Flat()]
        for layer in explicit:
            match layer:
                case nn.Conv2d():
                    hook = flat.pop() if flat else zennit_rules.ZPlus()
                case nn.Linear():
                    hook = zennit_rules.Epsilon(1e-6)
                case nn.ReLU() | Multiplied():
                    hook = zennit_rules.Pass()
                case _:
                    continue
            hook.register(layer)
        x = picture().requires_grad_()
        start = ours.attributions[0].output_relevance[None].clone()
        (relevance,) = torch.autograd.grad(explicit(x), x, grad_outputs=start)
        assert relative(ours.attributions[0].relevance[number], relevance[0]) < 1e-10


@pytest.mark.parametrize(
    ("rule", "sampling"),
    [
        *((rule, Sampling.DROPOUT) for rule in [*COMPOSITES, *RULES]),
        *((rule, Sampling.NOISE) for rule in ("epsilon_plus_flat", "epsilon_gamma_box", "alpha_beta")),
    ],
)
def test_engine_and_reference_agree_on_samples(rule: str, sampling: Sampling) -> None:
    model, samples = traced_network(rates=(0.2, 0.5, 0.3)), Samples(5, sampling, seed=1)
    requests = [
        request_of(model, rule, Target(start=Start.PROBABILITY)),
        request_of(model, rule, Target(3, 1, Start.LOGIT), layer="7"),
        request_of(model, "epsilon_plus", Target(2)),
    ]
    ours, theirs = (sampled(engine, model, requests, samples) for engine in (Engine, Reference))
    assert relative(ours.logits, theirs.logits) < 1e-10
    assert relative(ours.sample_logits, theirs.sample_logits) < 1e-10
    for one, same in zip(ours.attributions, theirs.attributions, strict=True):
        assert one.layers == same.layers
        assert relative(one.relevance, same.relevance) < 1e-10
        assert relative(one.sums, same.sums) < 1e-8
        assert (
            torch.equal(one.output_relevance, same.output_relevance)
            or relative(one.output_relevance, same.output_relevance) < 1e-10
        )


def test_noise_samples_are_explanations_of_noisy_inputs() -> None:
    model, samples = traced_network(), Samples(4, Sampling.NOISE, noise=0.25, seed=5)
    request = request_of(model, "epsilon_plus_flat", Target(3))
    ours = sampled(Engine, model, [request], samples)
    noise = torch.from_numpy(samples.deviations(range(4), (2, 8, 8)))
    inputs = picture() + 0.25 * (HIGH - LOW) * noise
    engine = Engine(model, torch.tensor(LOW, dtype=F64), torch.tensor(HIGH, dtype=F64))
    start = ours.attributions[0].output_relevance
    expected = engine.attribute(inputs, request.composite, lambda logits: start.expand_as(logits))
    assert relative(ours.sample_logits, expected.logits) < 1e-12
    assert relative(ours.attributions[0].relevance, expected.relevance) < 1e-12


# Identities


@pytest.mark.parametrize("rule", ["epsilon_plus_flat", "epsilon_plus", "epsilon"])
def test_every_dropout_sample_of_a_network_without_biases_conserves(rule: str) -> None:
    model = traced_network(bias=False, rates=(0.5, 0.2, 0.3))
    request = ExplanationRequest(resolve(kinds(model.graph), rule, {"epsilon": 1e-10}, []), Target(1))
    ours = sampled(Engine, model, [request], Samples(8, seed=2)).attributions[0]
    start = ours.output_relevance.sum()
    torch.testing.assert_close(ours.sums, start.expand_as(ours.sums), rtol=1e-4, atol=1e-4)
    assert abs(float(start)) == 1


def test_target_and_start_are_those_of_the_plain_pass() -> None:
    model = traced_network(rates=(0.8, 0, 0.8))
    request = request_of(model, "epsilon", Target(start=Start.LOGIT))
    ours = sampled(Engine, model, [request], Samples(16))
    plain = network().eval()(picture())[0].detach()
    torch.testing.assert_close(ours.logits, plain)
    predicted = int(plain.argmax())
    assert (ours.sample_logits.argmax(1) != predicted).any(), (
        "all samples predict the same: choose another seed"
    )
    expected = torch.zeros(5, dtype=F64)
    expected[predicted] = plain[predicted]
    torch.testing.assert_close(ours.attributions[0].output_relevance, expected)


# Random numbers


def test_masks_drop_at_the_layers_rates_and_whole_channels() -> None:
    (units, channels) = Samples(64).masks(range(64), [((128,), 0.3), ((500, 1, 1), 0.8)])
    assert units.shape == (64, 128)
    assert units.mean() == pytest.approx(0.7, abs=0.02)
    assert channels.shape == (64, 500, 1, 1)
    assert channels.mean() == pytest.approx(0.2, abs=0.02)


def test_random_numbers_depend_on_seed_and_number_of_the_sample_alone() -> None:
    layers = [((6, 8), 0.5), ((12,), 0.5)]
    few, many = (Samples(count, seed=4).masks(range(count), layers) for count in (3, 9))
    later = Samples(9, seed=4).masks(range(5, 9), layers)
    other = Samples(9, seed=5).masks(range(9), layers)
    for index in range(2):
        np.testing.assert_array_equal(few[index], many[index][:3])
        np.testing.assert_array_equal(later[index], many[index][5:])
        assert not np.array_equal(other[index], many[index])
        assert len(np.unique(many[index].reshape(9, -1), axis=0)) == 9
    noise = Samples(9, Sampling.NOISE, seed=4).deviations(range(9), (50, 50))
    assert noise.mean() == pytest.approx(0, abs=0.02)
    assert noise.std() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("sampling", Sampling)
@pytest.mark.parametrize("rows", [1, 5, 7])
def test_smaller_batches_give_the_same_samples(sampling: Sampling, rows: int) -> None:
    model, samples = traced_network(), Samples(12, sampling)
    requests = [request_of(model, "epsilon_plus_flat"), request_of(model, "gamma"), request_of(model, "zero")]
    whole, in_parts = (sampled(Engine, model, requests, samples, one) for one in (32, rows))
    assert relative(in_parts.sample_logits, whole.sample_logits) < 1e-10
    for one, other in zip(in_parts.attributions, whole.attributions, strict=True):
        assert relative(one.relevance, other.relevance) < 1e-10


# What is computed


class Batches(TorchDispatchMode):
    """Records the number of rows of each input of a convolution or matrix product."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch's
        self.rows: list[int] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(
            word in str(function)
            for word in ("convolution_pointwise", "linear_pointwise", "aten.convolution")
        ):
            self.rows.append(len(args[0]))
        return function(*args, **(kwargs or {}))


def rows_of(samples: Samples, max_rows: int, requests: int = 1) -> list[int]:
    model, card = load_image(shipped_model())
    engine = Engine(model, torch.tensor(-2.0), torch.tensor(2.0))
    composite = resolve(kinds(model.graph), "epsilon_plus_flat", {}, [])
    asked = [ExplanationRequest(composite, Target(index)) for index in range(requests)]
    x = torch.randn(1, *card.input_size)
    engine.sample(x, asked, samples, max_rows)  # compiles
    batches = Batches()
    with batches:
        engine.sample(x, asked, samples, max_rows)
    return batches.rows


@pytest.mark.parametrize("sampling", Sampling)
@pytest.mark.parametrize(("max_rows", "requests"), [(4, 1), (4, 3), (32, 3)])
def test_no_batch_has_more_rows_than_allowed(sampling: Sampling, max_rows: int, requests: int) -> None:
    assert max(rows_of(Samples(10, sampling), max_rows, requests)) <= max_rows


def test_layers_below_the_first_dropout_run_once() -> None:
    rows = rows_of(Samples(16), 32)
    # Forward: all layers once, without dropout; then the dense layer above the dropout for each sample.
    assert rows[:7] == [1, 1, 1, 1, 1, 1, 16]
    # Backward: two transposes of dense layers and four of convolutions for each sample; z⁺ has a modified forward
    # pass of three convolutions, once.
    assert sorted(rows[7:]) == [1] * 3 + [16] * 6


# Statistics


@pytest.mark.parametrize("count", [2, 3, 20, 21, 64])
def test_statistics_equal_numpy(count: int) -> None:
    maps = torch.randn(count, 3, 4, 5, generator=torch.Generator().manual_seed(0)) + 0.5
    values = maps.double().numpy()
    expected = {
        Statistic.MEAN: values.mean(0),
        Statistic.STD: values.std(0),
        Statistic.P5: np.percentile(values, 5, axis=0),
        Statistic.P95: np.percentile(values, 95, axis=0),
    }
    for statistic, wanted in expected.items():
        np.testing.assert_allclose(statistic_of(maps, statistic), wanted, rtol=1e-5, atol=1e-6)
    mean = values.mean(0)
    alike = np.maximum((values > 0).mean(0), (values < 0).mean(0)) >= 0.95 - 1e-12
    found = statistics(maps)
    assert found.spread == pytest.approx(values.std(0).mean() / np.abs(mean).mean(), rel=1e-5)
    assert found.sign_agreement == pytest.approx(np.abs(mean)[alike].sum() / np.abs(mean).sum(), rel=1e-5)


def test_statistics_by_hand() -> None:
    maps = torch.tensor([[2.0, -1.0, 1.0], [4.0, -3.0, -3.0]])  # means 3, −2, −1, deviations 1, 1, 2
    found = statistics(maps)
    assert found.spread == pytest.approx(4 / 6)
    assert found.sign_agreement == pytest.approx(5 / 6)


def test_nineteen_of_twenty_samples_are_enough_to_agree_and_eighteen_are_not() -> None:
    for others, agreement in ((1, 1.0), (2, 0.0)):
        maps = torch.ones(20, 1)
        maps[:others] = -1
        assert statistics(maps).sign_agreement == agreement


def test_maps_of_zeros_have_no_spread() -> None:
    assert statistics(torch.zeros(4, 3)) == SampleStatistics(None, None)
