"""Measure what products in bfloat16 change: maps, gaps and predicted classes, for each rule.

Pictures are explained for their predicted class by two engines that differ in the precision alone. Run with
``python -m benchmarks.precision --data test.zip``.
"""

import argparse
import os
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table
from torch import Tensor

from app.lrp.attribution import output_relevance
from app.lrp.composites import COMPOSITES, Composite, resolve
from app.lrp.engine.engine import Engine
from app.lrp.graph.kinds import kinds
from app.lrp.request import ExplanationRequest, Target
from app.lrp.rules import RULES
from app.models.bounds import pixel_bounds
from app.models.checkpoint import load_image
from app.models.device import PRODUCTS
from app.quality.randomization import similarity
from app.settings import shipped_model
from app.training.augment import normalise
from app.training.data import load_split
from app.training.evaluation import logits_of
from app.training.gap import GapMeter
from docs import blocks

COLUMNS = ["rule", "error", "largest error", "rank correlation", "smallest", "gap", "change of the gap"]
BATCH = 50


def main() -> None:
    """Print the table of all composites and rules."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder or zip with the split test")
    parser.add_argument("--model", type=Path, default=shipped_model())
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--rule", nargs="+", default=[*COMPOSITES, *RULES])
    parser.add_argument("--write", action="store_true", help="also write the table into docs/correctness.md")
    arguments = parser.parse_args()
    network, card = load_image(arguments.model)
    bounds = pixel_bounds(card.normalisation)
    engines = [Engine(network, *bounds, products=products) for products in PRODUCTS.values()]
    data = load_split(arguments.data, "test")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    images = data.select(order[: arguments.count]).images
    inputs = normalise(images, card.normalisation)
    meters = [GapMeter(engine, card.normalisation, images) for engine in engines]
    chain = kinds(network.graph)
    composites = {rule: resolve(chain, rule, {}, ()) for rule in arguments.rule}
    rows = [
        [f"`{rule}`", *compared(engines, inputs, composite), *gaps(meters, composite)]
        for rule, composite in track(composites.items(), description="rules")
    ]
    changed = classes(engines, inputs)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, torch {version('torch')}"
    title = (
        f"bfloat16 against float32, {len(images)} test pictures, weights `{card.sha256[:12]}` ({machine}); "
        f"{changed} of their predicted classes differ"
    )
    table = Table(*(Column(name, justify="right") for name in COLUMNS), title=title)
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)
    if arguments.write:
        blocks.fill("correctness.md", {"precision": f"{title}:\n\n{blocks.table(COLUMNS, rows)}"})


def compared(engines: list[Engine], inputs: Tensor, composite: Composite) -> list[str]:
    """Return median and largest relative error, and median and smallest rank correlation, of all maps."""
    exact, rounded = (maps(engine, inputs, composite) for engine in engines)
    errors = [float((a - b).norm() / a.norm()) for a, b in zip(exact, rounded, strict=True)]
    ranks = [similarity(a.numpy(), b.numpy()) for a, b in zip(exact, rounded, strict=True)]
    known = [rank for rank in ranks if rank is not None]
    return [
        f"{np.median(errors):.2%}",
        f"{max(errors):.2%}",
        f"{np.median(known):.4f}",
        f"{min(known):.4f}",
    ]


def maps(engine: Engine, inputs: Tensor, composite: Composite) -> Tensor:
    """Return the maps of the predicted classes, (n, C, H, W)."""
    found = []
    for batch in inputs.split(BATCH):
        put_in = output_relevance([ExplanationRequest(composite, Target())] * len(batch))
        found.append(engine.attribute(batch, composite, put_in).relevance)
    return torch.cat(found)


def gaps(meters: list[GapMeter], composite: Composite) -> list[str]:
    """Return the mean gap in float32, and by how much it changes."""
    exact, rounded = (float(meter.of_composite(composite).mean()) for meter in meters)
    return [f"{exact:.4f}", f"{rounded - exact:+.5f}"]


def classes(engines: list[Engine], inputs: Tensor) -> int:
    """Return the number of pictures whose predicted class differs."""
    exact, rounded = (
        torch.cat([logits_of(engine)(batch) for batch in inputs.split(BATCH)]).argmax(1) for engine in engines
    )
    return int((exact != rounded).sum())


if __name__ == "__main__":
    main()
