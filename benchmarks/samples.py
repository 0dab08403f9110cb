"""Measure what samples cost, in plain explanations.

Within a round, a batch of explanations without samples and one explanation with samples of each kind are
measured in turn, so that a noisy machine affects them equally. Figures are medians over the rounds, in processor
time of all cores, which other processes change less than the time on the clock. Both include everything that the
model's process does. Run with ``python -m benchmarks.samples --rounds 15``.
"""

import argparse
import os
import platform
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Column, Table

from app.lrp.composites import COMPOSITES, resolve
from app.lrp.request import ExplanationRequest
from app.lrp.samples import Samples, Sampling
from app.models.image_card import image_card
from app.models.local import LocalModel
from app.models.protocol import Job
from app.settings import shipped_model
from benchmarks.relevance import medians
from docs import blocks

BATCH = 32
COLUMNS = ["rule", "plain explanation (ms)", "sampling", f"{BATCH} samples (ms)", "in plain explanations"]


def measure(model: LocalModel, rule: str, rounds: int) -> dict[str, float]:
    """Return the median processor seconds of a batch of plain explanations, and of each sampling."""
    request = ExplanationRequest(resolve(model.description.chain, rule, {}, []))
    random = np.random.default_rng(0)
    inputs = random.standard_normal((BATCH, *image_card(model.description.card).input_size)).astype(
        np.float32
    )
    batch = [Job(x, (request,)) for x in inputs]
    sampled = {kind: Job(inputs[0], (request,), samples=Samples(BATCH, kind)) for kind in Sampling}

    def plain() -> None:
        model.run(batch)

    return medians(
        {"plain": plain, **{kind: partial(model.run, [job]) for kind, job in sampled.items()}},
        rounds,
        time.process_time,
    )


def main() -> None:
    """Print the table of all composites."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=shipped_model())
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cores", type=int, help="default: all")
    parser.add_argument("--rule", nargs="+", default=list(COMPOSITES))
    parser.add_argument("--write", action="store_true", help="also write the table into docs/uncertainty.md")
    arguments = parser.parse_args()
    model = LocalModel.load(arguments.model, "cpu", arguments.cores)
    rows = [row for rule in arguments.rule for row in lines(model, rule, arguments.rounds)]
    machine = (
        f"{torch.get_num_threads()} of {os.cpu_count()} cores, {platform.machine()}, torch {version('torch')}"
    )
    title = f"Samples at batch {BATCH}, processor time, medians over {arguments.rounds} rounds ({machine})"
    table = Table(*(Column(name, justify="right") for name in COLUMNS), title=title)
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)
    if arguments.write:
        blocks.fill("uncertainty.md", {"samples": f"{title}:\n\n{blocks.table(COLUMNS, rows)}"})


def lines(model: LocalModel, rule: str, rounds: int) -> list[list[str]]:
    """Measure one rule; return its rows for `COLUMNS`."""
    times = measure(model, rule, rounds)
    plain = times["plain"] / BATCH
    return [
        [rule, f"{1000 * plain:.1f}", kind, f"{1000 * times[kind]:.0f}", f"{times[kind] / plain:.1f}"]
        for kind in Sampling
    ]


if __name__ == "__main__":
    main()
