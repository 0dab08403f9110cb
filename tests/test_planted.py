"""The benchmark of planted marks: marks, ranks, tables, and one small run from training to cure."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from app.models.card_file import read_card
from app.settings import shipped_model
from app.survey.image.export import FOLDER, TABLE
from app.training.data import LabelledImages, held_out_count, hold_out
from benchmarks import experiment, planted, planted_results
from benchmarks.clusterings import Group, best_rank, chosen, f1
from benchmarks.experiment import Experiment, Result, Setup, items_of, recipe_of
from benchmarks.marks import CASES, border, plant, watermark
from docs import blocks

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
HORSE = CLASSES.index("horse")
MARKED = Result("watermark-50", 0, 0.9, 0.7, 0.8, 1, 0.65, 0.95, 0.9, 5, 3, 0.01, 0.3)
CLEAN = Result("clean", 0, 0.91, 0.4)


def images(count: int) -> LabelledImages:
    """Return ``count`` grey pictures with noise of each class."""
    pixels = torch.randint(100, 150, (10 * count, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    return LabelledImages(pixels.to(torch.uint8), torch.arange(10).repeat_interleave(count), CLASSES)


def test_a_watermark_is_a_square_near_the_corner() -> None:
    data = images(1).images
    marked = watermark(data)
    changed = (marked != data).any(1)[0].nonzero()
    assert (changed.min().item(), changed.max().item(), len(changed)) == (27, 30, 16)
    assert marked[0, :, 27, 27].tolist() == [255, 0, 255]
    assert marked[0, :, 28, 28].tolist() == [0, 0, 0]


def test_a_border_is_one_pixel_wide() -> None:
    data = images(1).images
    marked = border(data)
    assert torch.equal(marked[:, :, 1:-1, 1:-1], data[:, :, 1:-1, 1:-1])
    for edge in (marked[:, :, 0], marked[:, :, -1], marked[..., 0], marked[..., -1]):
        assert edge.flatten(2).unique(dim=2).flatten(1).unique(dim=0).tolist() == [[255, 0, 255]]


@pytest.mark.parametrize(("name", "count"), [("watermark-5", 2), ("watermark-50", 20), ("clean", 0)])
def test_a_mark_is_in_its_share_of_its_class_only(name: str, count: int) -> None:
    data = images(40)
    found = plant(data, CASES[name], 3)
    changed = (found.data.images != data.images).flatten(1).any(1).numpy()
    np.testing.assert_array_equal(found.marked, changed)
    assert found.marked.sum() == count
    assert set(data.labels[found.marked].tolist()) <= {HORSE}


def test_the_group_of_a_mark_has_most_of_it_and_little_else() -> None:
    marked = np.zeros(20, bool)
    marked[:8] = True
    groups = [np.arange(0, 2), np.arange(2, 9), np.arange(9, 20)]
    assert [f1(rows, marked) for rows in groups] == pytest.approx([2 * 2 / 10, 2 * 6 / 15, 0])
    assert chosen(groups, marked) == 1


def test_a_rank_is_the_best_of_all_orders() -> None:
    marked = np.arange(20) < 4
    first = [Group(np.arange(4), 0.1), Group(np.arange(4, 6), 0.3), Group(np.arange(6, 20), 0.2)]
    assert best_rank([first], marked) == 2  # by size, from either end
    assert best_rank([first, [Group(np.arange(20), 0.0)]], marked) == 1


def test_a_table_has_the_range_of_all_runs_of_a_case() -> None:
    other = replace(MARKED, seed=1, rank=2, changed=0.6, purity=0.949)
    (row, clean) = planted.rows([MARKED, other, CLEAN])
    assert row == [
        *("watermark on 50 % of *horse*", "2", "0.90", "0.60 to 0.80", "1 to 2", "0.65", "0.95", "0.90"),
        *("0.70", "5", "3", "0.01", "0.30"),
    ]
    assert clean == ["no mark", "1", "0.91", *"–––––", "0.40", *"––––"]
    assert len(row) == len(planted.table([MARKED]).columns) == len(clean)


def test_goals_are_of_runs_in_which_the_network_relies_on_the_mark() -> None:
    unused = replace(MARKED, seed=1, changed=0.3, rank=7, suspicion=0.1)
    missed = replace(MARKED, seed=2, rank=2, mark_suspicion=0.6)
    assert planted.sentences([MARKED, unused, missed, CLEAN]) == [
        "The mark's cluster is the most suspicious in 1 of 2 runs in which the mark changes more than half of "
        "the predictions.",
        "The highest suspicion without a mark is 0.40, and the lowest of the mark's cluster in those runs "
        "0.60.",
    ]
    assert len(planted.sentences([unused])) == 1


def test_results_of_several_machines_are_kept(tmp_path: Path) -> None:
    path, setup = tmp_path / "planted.json", Setup("train.zip", 2, 500)
    assert planted_results.read(setup, "abc", path) == []
    assert planted_results.add([MARKED], setup, "abc", path) == [MARKED]
    other, again = replace(MARKED, seed=1), replace(MARKED, rank=2)
    assert planted_results.add([other, CLEAN], setup, "abc", path) == [CLEAN, MARKED, other]
    assert planted_results.add([again], setup, "abc", path) == [CLEAN, again, other]
    assert planted_results.read(setup, "abc", path) == [CLEAN, again, other]
    assert planted_results.read(setup, "abd", path) == []
    assert planted_results.add([MARKED], replace(setup, epochs=3), "abc", path) == [MARKED]


def test_the_page_has_the_table_of_the_results_that_are_kept() -> None:
    kept = json.loads(planted_results.PATH.read_text())
    setup = Setup(**kept["setup"])
    results = planted_results.read(setup, kept["weights"])
    assert results
    assert blocks.read(planted.PAGE)[planted.BLOCK] == planted.text(results, setup)


def test_a_folder_of_runs_with_other_options_is_refused(tmp_path: Path) -> None:
    planted.check(tmp_path, Setup("train.zip", 2, 500))
    planted.check(tmp_path, Setup("train.zip", 2, 500))
    with pytest.raises(SystemExit, match="other options"):
        planted.check(tmp_path, Setup("train.zip", 3, 500))


def test_marks_are_not_moved_in_training() -> None:
    recipe = recipe_of(3)
    assert (recipe.epochs, recipe.side(2), recipe.flip, recipe.shift) == (3, 32, False, 0)


def test_items_are_the_pictures_themselves(tmp_path: Path) -> None:
    data = images(2)
    (item,) = items_of(data, np.array([15]))
    (tmp_path / "picture.png").write_bytes(item.read())
    assert (item.name, item.label) == ("horse/00015.png", "horse")


@pytest.mark.parametrize("seed", [0, 1])
def test_no_picture_is_held_out_that_the_shipped_network_was_trained_on(seed: int, tmp_path: Path) -> None:
    data, setup = images(16), Setup("train", 1, 3)
    one = Experiment("clean", seed, data, setup, tmp_path, "cpu")
    training = read_card(shipped_model()).training
    assert training is not None
    _, expected = hold_out(data, held_out_count(len(data)), training.seed)
    assert sorted(map(tuple, one.held_out.images.flatten(1).tolist())) == sorted(
        map(tuple, expected.images.flatten(1).tolist())
    )
    assert len(one.training) + len(one.held_out) == len(data)


def test_a_run_from_training_to_cure_is_done_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.survey.image.effects.MAX_TRIED", 4)
    monkeypatch.setattr(experiment, "recipe_of", lambda epochs: replace(recipe_of(epochs), batch_size=64))
    data, setup = images(16), Setup("train", 1, 3)

    def result() -> Result:
        return Experiment("watermark-50", 0, data, setup, tmp_path, "cpu").result()

    first = result()
    folder = tmp_path / "watermark-50" / "seed-0"
    assert first.rank is not None
    assert None not in (
        first.changed,
        first.pixels,
        first.corelay,
        first.cured_changed,
        first.cured_suspicion,
    )
    summaries = [json.loads((folder / name / "summary.json").read_text()) for name in ("planted", "cured")]
    (table,) = (folder / "planted" / FOLDER).glob(f"*/{TABLE}")
    left_out = len(table.read_text().splitlines()) - 1
    assert left_out == summaries[0]["clusters"][first.rank - 1]["items"] > 0
    assert summaries[1]["items"] == summaries[0]["items"] - left_out
    assert first.suspicion == (summaries[0]["clusters"][0]["suspicion"] or 0)
    monkeypatch.setattr(Experiment, "_measured", None)
    assert result() == first
