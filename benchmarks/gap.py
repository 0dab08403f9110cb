"""Measure the gap of composites on labelled pictures, as a share of occlusion's.

The gap is the area between perturbation curves, most relevant first and least relevant first, of patches that are
set to the mean colour (`app.quality.perturbation`). The first ``--count`` test pictures of a shuffled order are
explained, each for its predicted class; of data with a split ``train``, those that were held out from it.
Intervals hold 95 % (bootstrap over pictures). Run with ``python -m benchmarks.gap --data test.zip``.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table
from torch import Tensor

from app.lrp.composites import resolve
from app.lrp.graph.kinds import kinds
from app.models.checkpoint import load_image
from app.models.image_card import ImageCard
from app.models.tuned import composites_of
from app.quality.intervals import Interval, mean, ratio_of_means
from app.settings import shipped_model
from app.training.data import has_split
from app.training.evaluation import engine_of
from app.training.gap import GapMeter
from app.training.tune import held_out
from docs import blocks

COLUMNS = ["order", "gap, 95 % interval", "share of occlusion's"]


def main() -> None:
    """Print the table of occlusion and the composites."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder or zip with a split test or train")
    parser.add_argument("--model", type=Path, default=shipped_model())
    parser.add_argument("--rule", nargs="+", help="default: all composites of the model")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="also write the table into docs/evaluation.md")
    arguments = parser.parse_args()
    network, card = load_image(arguments.model)
    chain, composites = kinds(network.graph), composites_of(card)
    images = shuffled(arguments.data, card, arguments.seed)[: arguments.count]
    meter = GapMeter(engine_of(network, card.normalisation), card.normalisation, images)
    occlusion = meter.of_occlusion()
    rows = [["occlusion", formatted(mean(occlusion)), "1"]]
    for rule in track(arguments.rule or list(composites)):
        gaps = meter.of_composite(resolve(chain, rule, {}, (), composites))
        share = ratio_of_means(np.stack([gaps, occlusion], 1))
        rows.append([f"`{rule}`", formatted(mean(gaps)), formatted(share)])
    which = "held-out" if has_split(arguments.data, "train") else "test"
    title = f"Gaps of {len(occlusion)} {which} pictures, weights `{card.sha256[:12]}`"
    table = Table(*(Column(name, justify="right") for name in COLUMNS), title=title)
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)
    if arguments.write:
        blocks.fill("evaluation.md", {"gap": f"{title}:\n\n{blocks.table(COLUMNS, rows)}"})


def shuffled(source: Path, card: ImageCard, seed: int) -> Tensor:
    """Return pictures that the network was not trained on, (N, C, H, W) uint8, in random order."""
    data = held_out(source, card)
    if has_split(source, "train"):
        return data.images
    return data.images[torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))]


def formatted(interval: Interval) -> str:
    """Return the estimate and its interval."""
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"


if __name__ == "__main__":
    main()
