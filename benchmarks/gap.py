"""Measure the gap of composites on labelled pictures, as a share of occlusion's.

The gap is the area between perturbation curves, most relevant first and least relevant first, of patches that are
set to the mean colour (`app.quality.perturbation`). The first ``--count`` pictures of a shuffled order are
explained, each for its predicted class. Intervals hold 95 % (bootstrap over pictures). Run with
``python -m benchmarks.gap --data test.zip``.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

from app.lrp.composites import resolve
from app.lrp.graph.kinds import kinds
from app.models.checkpoint import load_image
from app.models.tuned import composites_of
from app.quality.intervals import Interval, mean, ratio_of_means
from app.settings import shipped_model
from app.training.data import load_split
from app.training.gap import GapMeter
from docs import blocks

COLUMNS = ["order", "gap, 95 % interval", "share of occlusion's"]


def main() -> None:
    """Print the table of occlusion and the composites."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder or zip with the split test")
    parser.add_argument("--model", type=Path, default=shipped_model())
    parser.add_argument("--rule", nargs="+", help="default: all composites of the model")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="also write the table into docs/evaluation.md")
    arguments = parser.parse_args()
    network, card = load_image(arguments.model)
    chain, composites = kinds(network.graph), composites_of(card)
    data = load_split(arguments.data, "test")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(arguments.seed))
    meter = GapMeter(network, card.normalisation, data.images[order[: arguments.count]])
    occlusion = meter.of_occlusion()
    rows = [["occlusion", formatted(mean(occlusion)), "1"]]
    for rule in track(arguments.rule or list(composites)):
        gaps = meter.of_composite(resolve(chain, rule, {}, (), composites))
        share = ratio_of_means(np.stack([gaps, occlusion], 1))
        rows.append([f"`{rule}`", formatted(mean(gaps)), formatted(share)])
    title = f"Gaps of {len(occlusion)} test pictures, weights `{card.sha256[:12]}`"
    table = Table(*(Column(name, justify="right") for name in COLUMNS), title=title)
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)
    if arguments.write:
        blocks.fill("evaluation.md", {"gap": f"{title}:\n\n{blocks.table(COLUMNS, rows)}"})


def formatted(interval: Interval) -> str:
    """Return the estimate and its interval."""
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"


if __name__ == "__main__":
    main()
