"""``lrpserve tune`` measures gaps as `app.quality.perturbation` defines them, and writes a card."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic_data import write_data, write_split
from torch import Tensor

from app.errors import DataError
from app.lrp.attribution import output_relevance
from app.lrp.composites import resolve
from app.lrp.engine.engine import Engine
from app.lrp.graph.kinds import kinds
from app.lrp.request import ExplanationRequest, Target
from app.models.architectures.registry import as_graph
from app.models.bounds import pixel_bounds
from app.models.checkpoint import load, load_module
from app.quality.perturbation import (
    Floats,
    group_sums,
    half,
    occlusion_scores,
    patch_groups,
    perturbation_curves,
)
from app.settings import shipped_model
from app.training.augment import normalise
from app.training.gap import GapMeter
from app.training.tune import tune

GROUPS = patch_groups(32, 32, 4)


def smooth_images(count: int) -> Tensor:
    coarse = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    return (torch.nn.functional.interpolate(coarse, size=32, mode="bicubic").clamp(0, 1) * 255).byte()


def test_gaps_are_those_of_perturbation_curves_of_single_pictures() -> None:
    network, card = load_module(shipped_model())
    model = as_graph(network)
    images = smooth_images(10)  # more than one chunk
    meter = GapMeter(Engine(model, *pixel_bounds(card.normalisation)), card.normalisation, images)
    composite = resolve(kinds(model.graph), "epsilon_plus", {}, [])
    engine = Engine(model, *pixel_bounds(card.normalisation))
    expected: list[float] = []
    ceiling: list[float] = []
    for x in normalise(images, card.normalisation):
        put_in = output_relevance([ExplanationRequest(composite, Target())])
        relevance = engine.attribute(x[None], composite, put_in).relevance[0].numpy()
        target = int(network(x[None]).argmax())

        def probability(inputs: Floats, target: int = target) -> Floats:
            with torch.inference_mode():
                found: Floats = network(torch.from_numpy(inputs)).softmax(1)[:, target].numpy()
            return found

        original = x.numpy()
        for found, scores in (
            (expected, group_sums(relevance, GROUPS)),
            (ceiling, occlusion_scores(probability, original, np.zeros_like(original), GROUPS)),
        ):
            curves = perturbation_curves(
                probability, original, np.zeros_like(original), GROUPS, scores, half(64)
            )
            found.append(curves.gap)
    assert meter.of_composite(composite) == pytest.approx(np.array(expected), abs=1e-4)
    assert meter.of_occlusion() == pytest.approx(np.array(ceiling), abs=1e-4)


def copied_model(folder: Path) -> Path:
    """Copy the shipped model to ``folder``; return its card."""
    for file in (shipped_model(), shipped_model().with_name("weights.safetensors")):
        shutil.copy(file, folder)
    return folder / shipped_model().name


def test_the_result_is_written_into_the_card_and_nothing_else_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, path = write_split(tmp_path / "data", 20, seed=0), copied_model(tmp_path)
    before = load(path)[1]
    found = tune(path, data, minutes=0.02, pictures=6, reported=12, seed=2)
    network, after = load(path)
    assert after.tuned == found
    assert after.model_copy(update={"tuned": None}) == before
    assert found.tried >= 1
    assert (
        "\n".join(found.layers) in capsys.readouterr().out
    )  # before it is measured: an interruption loses nothing
    assert (found.pictures, found.searched_on, found.seed, found.data) == (12, 6, 2, "data")
    assert found.interval[0] <= found.share_of_occlusion <= found.interval[1]
    assert found.share_of_occlusion == pytest.approx(found.gap / found.occlusion_gap, rel=0.02)
    assert len(found.layers) == sum(kind in ("convolution", "dense") for _, kind in kinds(network.graph))
    assert resolve(
        kinds(network.graph), "epsilon_plus_flat", {}, found.layers
    ).layers  # every layer has its rule


def test_too_few_pictures_are_refused_with_the_option_to_change(tmp_path: Path) -> None:
    data, path = write_data(tmp_path / "data", 20), copied_model(tmp_path)
    with pytest.raises(DataError, match=r"4 pictures are too few, 30 are needed.*--pictures"):
        tune(path, data, minutes=0, pictures=20, reported=10, seed=0)
