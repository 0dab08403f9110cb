"""Training reads a dataset and writes weights, card and plots."""

import dataclasses
from pathlib import Path

import pytest
import torch
from synthetic_data import TINY, write_data

from app.errors import DataError
from app.models.checkpoint import load, load_image
from app.models.records import Measured
from app.settings import shipped_model
from app.training.augment import Batches
from app.training.data import LabelledImages, compute_normalisation, load_split
from app.training.evaluation import evaluate
from app.training.loop import Trainer
from app.training.recipe import Recipe, Stage
from app.training.run import split_loader, train

LONGER = dataclasses.replace(TINY, stages=(Stage(4, 16), Stage(1, 32)))
CONSERVING_STRIPES = dataclasses.replace(
    LONGER, batch_norm=False, whiten=False, conserving=True, fade=0.3, calibrate=True
)


def run(
    data: Path,
    folder: Path,
    recipe: Recipe = TINY,
    *,
    name: str = "stripes",
    resume: bool = False,
    start: Path | None = None,
) -> Path:
    return train(
        recipe,
        split_loader(data, None, folder),
        folder / "run",
        folder / "out",
        name=name,
        data_name="stripes",
        resume=resume,
        seed=1,
        device="cpu",
        start=start,
    )


def test_training_writes_accurate_weights_a_card_and_plots(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    card_path = run(data, tmp_path, LONGER)
    model, card = load_image(card_path)
    assert card.training is not None
    assert card.classes == ("horizontal", "vertical")
    assert card.training.recipe["batch_size"] == LONGER.batch_size
    assert card.dropout == (LONGER.dropout or (0.35, 0.35, 0.45))
    assert [record.side for record in card.training.history] == [16, 16, 16, 16, 32]
    assert isinstance(card.training.test, Measured)
    assert (card.training.validation.count, card.training.test.count) == (4, 20)
    assert card.training.test.accuracy >= 0.9
    measured = evaluate(model, load_split(data, "test"), card.normalisation, card.classes)
    assert measured == card.training.test
    for plot in ("learning-curve.png", "confusion-matrix.png"):
        assert (tmp_path / "run" / plot).read_bytes().startswith(b"\x89PNG")


def test_resuming_a_finished_training_exports_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_data(tmp_path / "data")
    first = load(run(data, tmp_path))[1]
    monkeypatch.setattr(Trainer, "_train_epoch", None)  # training an epoch would raise an error
    assert load(run(data, tmp_path, resume=True))[1].sha256 == first.sha256


def test_a_conserving_training_starts_from_a_card_and_loses_no_relevance(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    first = run(data, tmp_path / "first", LONGER)
    card = load(run(data, tmp_path / "second", CONSERVING_STRIPES, start=first))[1]
    assert card.training is not None
    assert isinstance(card.training.test, Measured)
    assert card.training.started_from == f"stripes@{load(first)[1].version}"
    assert card.training.test.accuracy >= 0.9
    assert card.training.test.median_leak == pytest.approx(0, abs=0.01)


def test_a_card_to_start_from_fits_the_recipe_and_the_classes(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    card = run(data, tmp_path / "first")
    with pytest.raises(DataError, match="--start"):
        run(data, tmp_path / "second", start=card)
    with pytest.raises(DataError, match=r"airplane.*truck"):
        run(data, tmp_path / "third", CONSERVING_STRIPES, start=shipped_model())


def test_an_existing_checkpoint_is_not_overwritten(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"checkpoint")
    with pytest.raises(DataError, match="--resume"):
        run(data, tmp_path)
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == b"checkpoint"


def test_invalid_names_and_data_are_refused_before_training(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", 2)
    for name in ("../mine", "mine\n", "mine-lrp"):
        with pytest.raises(DataError, match="name"):
            run(data, tmp_path, name=name)
    with pytest.raises(DataError, match="at least 10"):
        run(data, tmp_path)
    with pytest.raises(DataError, match="batch of 1000"):
        run(write_data(tmp_path / "more", 10), tmp_path, dataclasses.replace(TINY, batch_size=1000))


@pytest.mark.parametrize(
    ("recipe", "seed", "message"),
    [(dataclasses.replace(TINY, learning_rate=0.2), 0, "another recipe"), (TINY, 1, "seed 0")],
)
def test_a_checkpoint_of_another_recipe_or_seed_is_refused(
    tmp_path: Path, recipe: Recipe, seed: int, message: str
) -> None:
    pictures = load_split(write_data(tmp_path / "data", 8), "train")
    normalisation = compute_normalisation(pictures.images)
    first = Trainer(TINY, pictures, pictures, normalisation, tmp_path, seed=0)
    first._save()
    with pytest.raises(DataError, match=message):
        Trainer(recipe, pictures, pictures, normalisation, tmp_path, seed=seed).resume()


def test_batches_depend_only_on_seed_and_epoch() -> None:
    images = torch.randint(0, 256, (24, 3, 32, 32), dtype=torch.uint8)
    data = LabelledImages(images, torch.arange(24), ())
    normalisation = compute_normalisation(images)

    def first_batch(seed: int, epoch: int) -> torch.Tensor:
        return next(Batches(data, normalisation, TINY, seed).epoch(epoch))[0]

    assert torch.equal(first_batch(0, 1), first_batch(0, 1))
    assert not torch.equal(first_batch(0, 1), first_batch(1, 1))
    assert not torch.equal(first_batch(0, 0), first_batch(0, 1))


def test_shifts_reach_every_offset_with_reflection_padding() -> None:
    rows = torch.arange(32, dtype=torch.uint8)
    images = rows.view(1, 1, 1, 32).expand(200, 3, 32, 32).contiguous()  # a pixel's value is its column
    recipe = dataclasses.replace(TINY, stages=(Stage(1, 32),), batch_size=200, shift=2)
    normalisation = compute_normalisation(images)
    data = LabelledImages(images, torch.arange(200), ())
    inputs, _ = next(Batches(data, normalisation, recipe, seed=0).epoch(0))
    columns = (
        (inputs[:, 0, 0] * normalisation.std[0] + normalisation.mean[0]).mul(255).round().int()
    )  # (200, 32)
    expected = torch.tensor([[abs(x) if x < 32 else 62 - x for x in range(s, 32 + s)] for s in range(-2, 3)])
    assert {tuple(row) for row in columns.tolist()} == {tuple(row) for row in expected.tolist()}
