"""The training loop: augmentation, whitening, folding of batch normalisation, and resuming."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from app.models.architectures.minivgg import MiniVGG
from app.models.card import Normalisation
from app.training.augment import Batches
from app.training.data import LabelledImages
from app.training.evaluation import calibration_error, compute_metrics
from app.training.loop import Trainer
from app.training.network import NumpyDropout, build_network, fold_batch_norm, init_whitening
from app.training.recipe import BEST, TALK, Recipe, Stage

NORMALISATION = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
TINY = dataclasses.replace(BEST, stages=(Stage(1, 16), Stage(1, 32)), batch_size=8, average_decay=0.5)


def images(count: int = 24) -> LabelledImages:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return LabelledImages(pixels, torch.arange(count) % 10, tuple("abcdefghij"))


def create_trainer(run: Path, recipe: Recipe = TINY) -> Trainer:
    return Trainer(recipe, images(), images(8), NORMALISATION, run, seed=3)


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
        torch.testing.assert_close(fold_batch_norm(network, 10)(x), network(x), rtol=1e-5, atol=1e-5)


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    uninterrupted = create_trainer(tmp_path / "a").train()
    (tmp_path / "b").mkdir()
    first = create_trainer(tmp_path / "b")
    first._history.append(first._train_epoch(0))
    first._save()
    second = create_trainer(tmp_path / "b")
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
