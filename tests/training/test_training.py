"""The training loop: augmentation, whitening, folding of batch normalisation, and resuming."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from app.lrp.attribution import output_relevance
from app.lrp.composites import resolve
from app.lrp.engine.engine import Engine
from app.lrp.graph.kinds import kinds
from app.lrp.request import ExplanationRequest, Target
from app.models.architectures.minivgg import MiniVGG
from app.models.architectures.registry import as_graph
from app.models.image_card import Normalisation
from app.training.augment import CELL, Batches, masked
from app.training.data import LabelledImages
from app.training.evaluation import calibration_error, compute_logits, compute_metrics, fit_temperature
from app.training.loop import Trainer
from app.training.network import (
    NumpyDropout,
    build_network,
    fold_norms,
    init_whitening,
    scale_logits,
    start_from,
)
from app.training.recipe import BEST, CONSERVING, TALK, Recipe, Stage
from app.training.rms_norm import RmsNorm, channel_mean_square, limit_biases

NORMALISATION = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
TINY = dataclasses.replace(BEST, stages=(Stage(1, 16), Stage(1, 32)), batch_size=8, average_decay=0.5)

TINY_CONSERVING = dataclasses.replace(
    CONSERVING,
    stages=TINY.stages,
    learning_rate=0.06,
    batch_size=8,
    average_decay=0.5,
    fade=0.5,
    bfloat16=False,
)


def images(count: int = 24) -> LabelledImages:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return LabelledImages(pixels, torch.arange(count) % 10, tuple("abcdefghij"))


def create_trainer(run: Path, recipe: Recipe = TINY, start: MiniVGG | None = None) -> Trainer:
    return Trainer(recipe, images(), images(8), NORMALISATION, run, seed=3, start=start)


def random_inputs(count: int = 4) -> torch.Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_folding_batch_norm_keeps_the_logits() -> None:
    torch.manual_seed(0)
    network = build_network(MiniVGG(), BEST)
    for layer in network:
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.uniform_(layer.weight, 0.5, 2)
            nn.init.normal_(layer.bias)
    network.eval()
    x = torch.randn(4, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(fold_norms(network, 10)(x), network(x), rtol=1e-5, atol=1e-5)


def test_folding_rms_norm_keeps_the_logits() -> None:
    torch.manual_seed(0)
    network = build_network(MiniVGG(), CONSERVING)
    norms = [layer for layer in network if isinstance(layer, RmsNorm)]
    assert len(norms) == 5  # all weighted layers but the last
    for norm in norms:
        nn.init.uniform_(norm.mean_square, 0.5, 2)
        nn.init.normal_(norm.gain)
        nn.init.normal_(norm.bias)
    network.eval()
    with torch.inference_mode():
        torch.testing.assert_close(
            fold_norms(network, 10)(random_inputs()), network(random_inputs()), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("shape", [(64, 5), (16, 5, 4, 4)])
def test_rms_norm_divides_each_channel_by_its_root_mean_square(shape: tuple[int, ...]) -> None:
    norm = RmsNorm(5, momentum=1).train()
    x = 3 + 2 * torch.randn(*shape)
    out = norm(x)
    assert torch.allclose(out.transpose(0, 1).flatten(1).square().mean(1), torch.ones(5), atol=1e-4)
    torch.testing.assert_close(
        norm.eval()(x), out, rtol=1e-5, atol=1e-5
    )  # the running mean square is that of x
    norm.eval()(x * 10)
    torch.testing.assert_close(norm(x), out, rtol=1e-5, atol=1e-5)  # evaluation does not change it


@pytest.mark.parametrize("shape", [(4, 5), (3, 5, 2, 2)])
def test_the_gradient_of_the_mean_square_is_that_of_finite_differences(shape: tuple[int, ...]) -> None:
    x = torch.randn(*shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(channel_mean_square, (x,))


@pytest.mark.parametrize("has_instructions", [True, False])
def test_a_training_in_bfloat16_comes_close_to_one_in_float32(
    has_instructions: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.training.loop.has_bfloat16", lambda _: has_instructions)
    recipes = [TINY_CONSERVING, dataclasses.replace(TINY_CONSERVING, bfloat16=True)]
    results = [create_trainer(tmp_path / str(recipe.bfloat16), recipe).train() for recipe in recipes]
    exact, rounded = (result.history[0].loss for result in results)  # later, roundings have multiplied
    assert (rounded != exact) is has_instructions  # a recipe in bfloat16 runs in float32 without them
    assert rounded == pytest.approx(exact, rel=0.02)
    assert all(p.dtype is torch.float32 for p in results[1].model.parameters())


def test_training_can_start_from_a_trained_network() -> None:
    torch.manual_seed(0)
    start = MiniVGG()
    last = start.classifier[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.bias.zero_()  # the network that is trained has no bias in the last layer
    network = build_network(MiniVGG(), CONSERVING)
    start_from(network, start, random_inputs(64))
    with torch.inference_mode():
        torch.testing.assert_close(
            network.eval()(random_inputs()), start.eval()(random_inputs()), rtol=1e-4, atol=1e-5
        )


def test_biases_are_limited_above_in_convolutions_and_on_both_sides_in_linear_layers() -> None:
    network = build_network(MiniVGG(), CONSERVING)
    norms = [layer for layer in network if isinstance(layer, RmsNorm)]
    for norm in norms:
        nn.init.normal_(norm.bias)
    lowest = [float(norm.bias.min().detach()) for norm in norms]
    limit_biases(network, 0.25)
    assert [float(norm.bias.max().detach()) for norm in norms] == [0.25] * 5
    assert [float(norm.bias.min().detach()) for norm in norms] == [*lowest[:4], -0.25]


@pytest.mark.parametrize("started", [False, True])
def test_a_conserving_recipe_makes_a_network_in_which_no_relevance_is_lost(
    tmp_path: Path, *, started: bool
) -> None:
    trainer = create_trainer(tmp_path, TINY_CONSERVING, MiniVGG() if started else None)
    model = trainer.train().model.double().requires_grad_(requires_grad=False)
    weighted = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert all(float(layer.bias.max()) <= 0 for layer in weighted if layer.bias is not None)
    assert all(not layer.bias.any() for layer in weighted if isinstance(layer, nn.Linear))
    assert any(layer.bias.any() for layer in weighted if layer.bias is not None)  # thresholds are kept
    inputs, bound = random_inputs(4).double(), torch.full((1, 3, 1, 1), 3.0, dtype=torch.float64)
    graph = as_graph(model)
    composite = resolve(kinds(graph.graph), "epsilon_plus_flat", {"epsilon": 1e-9}, [])
    put_in = output_relevance([ExplanationRequest(composite, Target(index)) for index in range(4)])
    attribution = Engine(graph, -bound, bound).attribute(inputs, composite, put_in)
    # The stabilizer of z⁺, 1e-6, keeps a share: activations of this hardly trained network are small.
    torch.testing.assert_close(
        attribution.relevance.flatten(1).sum(1), attribution.output_relevance.sum(1), rtol=2e-3, atol=0
    )


def test_a_temperature_is_recovered_from_logits() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 4, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]  # drawn at temperature 1
    assert fit_temperature(logits, labels) == pytest.approx(1, abs=0.03)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3, abs=0.1)


def test_scaling_logits_scales_nothing_else() -> None:
    model = MiniVGG().eval()
    with torch.inference_mode():
        expected = 0.5 * model(random_inputs())
        scale_logits(model, 0.5)
        torch.testing.assert_close(model(random_inputs()), expected)


def test_calibrated_logits_need_no_other_temperature(tmp_path: Path) -> None:
    trainer = create_trainer(tmp_path, TINY_CONSERVING)
    model = trainer.train().model
    data = images(8)
    assert fit_temperature(compute_logits(model, data, NORMALISATION), data.labels) == pytest.approx(
        1, abs=0.01
    )


def test_a_share_of_the_start_is_mixed_into_the_result(tmp_path: Path) -> None:
    start = MiniVGG(10).eval()
    plain = dataclasses.replace(TINY_CONSERVING, calibrate=False)
    trained, mixed = (
        create_trainer(tmp_path / str(share), dataclasses.replace(plain, start_share=share), start)
        .train()
        .model
        for share in (0.0, 0.25)
    )
    for parts in zip(trained.parameters(), start.parameters(), mixed.parameters(), strict=True):
        ours, theirs, both = parts
        torch.testing.assert_close(both, 0.75 * ours + 0.25 * theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("recipe", [TINY, TINY_CONSERVING], ids=["best", "conserving"])
def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path: Path, recipe: Recipe) -> None:
    uninterrupted = create_trainer(tmp_path / "a", recipe).train()
    (tmp_path / "b").mkdir()
    first = create_trainer(tmp_path / "b", recipe)
    first._history.append(first._train_epoch(0))
    first._save()
    second = create_trainer(tmp_path / "b", recipe)
    assert second.resume() == 1
    resumed = second.train()
    for actual, expected in zip(resumed.model.parameters(), uninterrupted.model.parameters(), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-6)
    assert [record.loss for record in resumed.history] == pytest.approx(
        [record.loss for record in uninterrupted.history], rel=1e-4
    )


def test_dropout_has_its_probability_and_keeps_the_mean() -> None:
    dropout = NumpyDropout(0.35).train()
    out = dropout(torch.ones(64, 32, 16, 16).to(memory_format=torch.channels_last))
    assert float((out == 0).float().mean()) == pytest.approx(0.35, abs=0.005)
    assert float(out.mean()) == pytest.approx(1, abs=0.01)
    assert torch.equal(dropout.eval()(out), out)


def test_whitening_makes_outputs_uncorrelated() -> None:
    torch.manual_seed(0)
    inputs = nn.functional.avg_pool2d(torch.randn(200, 3, 32, 32), 3, 1, 1)
    conv = nn.Conv2d(3, 32, 3)
    init_whitening(conv, inputs)
    with torch.inference_mode():
        outputs = conv(inputs).transpose(0, 1).flatten(1)[:16]
    torch.testing.assert_close(outputs.cov(), torch.eye(16), rtol=0, atol=0.05)


def test_flips_alternate_between_epochs() -> None:
    data = images(8)
    batches = Batches(data, NORMALISATION, dataclasses.replace(TINY, shift=0, stages=(Stage(2, 32),)), seed=0)
    shown = {
        int(label): x
        for epoch in (0, 1)
        for inputs, labels in [next(batches.epoch(epoch))]
        for x, label in zip(inputs, labels, strict=True)
        if epoch == 0
    }
    for x, label in zip(*next(batches.epoch(1)), strict=True):
        torch.testing.assert_close(x.flip(2), shown[int(label)])


def test_masks_cover_whole_cells_with_the_mean_colour_and_leave_the_rest() -> None:
    inputs = random_inputs(200)
    result = masked(inputs, 0.5, torch.Generator().manual_seed(0))
    covered = (result == 0).unfold(2, CELL, CELL).unfold(3, CELL, CELL)  # (200, 3, 8, 8, 4, 4)
    cells = covered.flatten(4).all(4).all(1)  # (200, 8, 8)
    pixels = cells.repeat_interleave(CELL, 1).repeat_interleave(CELL, 2).unsqueeze(1)
    assert torch.equal(result, torch.where(pixels, 0, inputs))
    shares = cells.flatten(1).float().mean(1)
    # Uniform between 0 and ½, and the binomial deviation of 64 cells, which adds a little to the spread.
    assert float(shares.mean()) == pytest.approx(0.25, abs=0.03)
    assert float(shares.std()) == pytest.approx((0.5**2 / 12 + 0.17 / 64) ** 0.5, abs=0.02)
    assert float(shares.min()) < 0.05
    assert float(shares.max()) > 0.45


def test_masks_are_the_same_in_a_resumed_epoch_and_different_in_each() -> None:
    recipe = dataclasses.replace(TINY, stages=(Stage(2, 32),), masked=0.5)
    batches = Batches(images(8), NORMALISATION, recipe, seed=0)
    (first, _), (again, _), (second, _) = (next(batches.epoch(epoch)) for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    plain, _ = next(Batches(images(8), NORMALISATION, dataclasses.replace(recipe, masked=0), 0).epoch(0))
    assert torch.equal(torch.where(first == 0, 0, plain), first)
    assert not torch.equal(first == 0, second == 0)


def test_a_recipe_gives_the_side_of_each_epoch() -> None:
    assert [TINY.side(epoch) for epoch in range(2)] == [16, 32]
    assert TALK.epochs == 12
    with pytest.raises(ValueError, match="2 epochs"):
        TINY.side(2)


def test_metrics_agree_with_a_calculation_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 0.5]])
    labels = torch.tensor([0, 1, 1, 1])
    metrics = compute_metrics(logits, labels, ("a", "b"))
    assert metrics.accuracy == 0.75
    assert metrics.confusion == ((1, 0), (1, 2))
    assert metrics.per_class == {"a": 1.0, "b": pytest.approx(2 / 3, abs=1e-5)}
    confidence = logits.softmax(1).max(1).values  # each in another bin
    correct = torch.tensor([1.0, 1.0, 0.0, 1.0])
    assert float(calibration_error(logits, labels)) == pytest.approx(
        float((confidence - correct).abs().mean())
    )
