"""Measure explanations of networks of torchvision against their forward pass and against autoLRP.

All three are measured in turn within a round, so that a noisy machine affects them equally; figures are medians
over the rounds. Memory is the largest resident set of a process that has loaded the network and explains a batch,
or the most that it takes of a GPU, one process for each figure. autoLRP (https://github.com/Wa-lead/autoLRP)
follows the autograd graph of a module; its rules are the ones that come closest, see "Against autoLRP" in
docs/correctness.md. Run with ``make bench-networks``.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import autolrp
import torch
from autolrp.config import BASE, CPLRP, LRPConfig
from rich.console import Console
from rich.table import Column, Table
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models

from app.lrp.composites import resolve
from app.lrp.engine.engine import Engine
from app.lrp.graph.kinds import kinds
from app.lrp.graph.trace import trace
from app.models.bounds import pixel_bounds
from app.models.checkpoint import load, save_traced
from app.models.image_card import Normalisation
from app.models.sources.names import numbered
from app.system import keep_freed_memory
from benchmarks import hardware
from benchmarks.relevance import medians
from benchmarks.trial import randomize
from docs import blocks

NETWORKS = ("resnet18", "vit_b_16", "convnext_tiny")
SIDE = 224
CPU = torch.device("cpu")
CLASSES = 1000
EPSILON = 1e-6
AUTOLRP: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"epsilon": {}, "epsilon_plus": {"ConvolutionBackward": "zplus"}}
)
"""By our rule: the rules of autoLRP besides its base and its CP-LRP preset."""
GOALS: Mapping[str, float] = MappingProxyType({"epsilon": 2.6, "epsilon_plus": 3.8})
"""Forward passes that an explanation may take, by rule, in batches of eight."""
COLUMNS = [
    "network",
    "rule",
    "forward ms",
    "ms",
    "autoLRP ms",
    "forward passes",
    "goal",
    "autoLRP's",
    "MB",
    "autoLRP MB",
]
NORMALISATION = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))

Explain = Callable[[], object]


def network(name: str, device: torch.device = CPU) -> nn.Module:
    """Return a network with random weights; the same ones each time."""
    torch.manual_seed(0)
    module: nn.Module = models.get_model(name, weights=None).eval().requires_grad_(False)
    randomize(module)
    return module.to(device).to(memory_format=torch.channels_last)


def stored(name: str, folder: Path) -> Path:
    """Export a network, and return the folder of the model that is written below ``folder``."""
    return save_traced(
        trace(network(name), inputs(2)),
        folder,
        name=name.replace("_", "-"),
        architecture=name,
        classes=numbered("class", CLASSES),
        normalisation=NORMALISATION,
        input_size=(3, SIDE, SIDE),
    )


def inputs(batch: int, device: torch.device = CPU) -> Tensor:
    """Return random inputs, (B, 3, height, width)."""
    x = torch.randn(batch, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    return x.to(device, memory_format=torch.channels_last)


def ours(card: Path, rule: str, batch: int, device: torch.device) -> Explain:
    """Return the explanation of a batch by the engine, of class 0."""
    model = load(card)[0].map_weights(lambda weight: weight.to(device))
    bounds, x = [bound.to(device) for bound in pixel_bounds(NORMALISATION)], inputs(batch, device)
    engine = Engine(model, *bounds)
    composite = resolve(kinds(model.graph), rule, {"epsilon": EPSILON}, ())
    return lambda: engine.attribute(x, composite, _one_at_class_0)


def theirs(card: Path, rule: str, batch: int, device: torch.device) -> Explain:
    """Return the same explanation by autoLRP."""
    module, x = network(card.parent.name.replace("-", "_"), device), inputs(batch, device)
    config = LRPConfig(rule={**BASE, **CPLRP, **AUTOLRP[rule]}, eps=EPSILON)

    def explain() -> Tensor:
        wrapped = autolrp.tensor(x)
        module(wrapped)[:, 0].sum().lrp(config=config)
        relevance: Tensor = wrapped.relevance
        return relevance

    return explain


EXPLAINERS: Mapping[str, Callable[[Path, str, int, torch.device], Explain]] = MappingProxyType(
    {"ours": ours, "autoLRP": theirs}
)


def seconds(card: Path, rule: str, batch: int, rounds: int, device: torch.device) -> dict[str, float]:
    """Return the median seconds of a batch: the forward pass, and each of `EXPLAINERS`."""
    module, x = network(card.parent.name.replace("-", "_"), device), inputs(batch, device)

    def forward() -> None:
        with torch.inference_mode():
            module(x)

    candidates = {name: explainer(card, rule, batch, device) for name, explainer in EXPLAINERS.items()}
    return medians({"forward": forward, **candidates}, rounds, hardware.clock(device))


def peak_bytes(explainer: str, card: Path, rule: str, batch: int, device: str) -> int:
    """Return the most memory while two batches are explained, in a process of its own."""
    keep_freed_memory()
    found = hardware.device(device)
    explain = EXPLAINERS[explainer](card, rule, batch, found)
    return hardware.peak_bytes(lambda: (explain(), explain()), found)


def peaks(card: Path, rule: str, batch: int, device: torch.device) -> dict[str, int]:
    """Return the `peak_bytes` of each of `EXPLAINERS`."""
    found = {}
    for name in EXPLAINERS:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            found[name] = process.submit(peak_bytes, name, card, rule, batch, str(device)).result()
    return found


def lines(card: Path, rules: Sequence[str], batch: int, rounds: int, device: torch.device) -> list[list[str]]:
    """Measure one network; return the rows for `COLUMNS`."""
    rows = []
    for rule in rules:
        memory, times = peaks(card, rule, batch, device), seconds(card, rule, batch, rounds, device)
        rows.append(
            [
                card.parent.name,
                rule,
                *(f"{1000 * times[name]:.0f}" for name in ("forward", *EXPLAINERS)),
                f"{times['ours'] / times['forward']:.2f}",
                f"≤ {GOALS[rule]}",
                f"{times['autoLRP'] / times['forward']:.2f}",
                *(f"{memory[name] / 2**20:.0f}" for name in EXPLAINERS),
            ]
        )
    return rows


def main() -> None:
    """Print the table of all networks and rules."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", nargs="+", default=list(NETWORKS))
    parser.add_argument("--rule", nargs="+", default=list(AUTOLRP), choices=list(AUTOLRP))
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--short", action="store_true", help="one round of two inputs, to try the benchmark")
    parser.add_argument("--write", action="store_true", help="also write the table into docs/performance.md")
    arguments = parser.parse_args()
    batch, rounds = (2, 1) if arguments.short else (arguments.batch, arguments.rounds)
    device = hardware.device(arguments.device)
    keep_freed_memory()

    rows: list[list[str]] = []
    for name in arguments.network:
        with TemporaryDirectory() as folder:
            rows += lines(stored(name, Path(folder)), arguments.rule, batch, rounds, device)
    versions = f"torch {version('torch')}, autolrp {version('autolrp')}"
    machine = f"{hardware.described(device)}, {versions}"
    title = f"Batches of {batch} pictures, medians over {rounds} rounds ({machine})"
    table = Table(*(Column(name, justify="right") for name in COLUMNS), title=title)
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)
    if arguments.write:
        text = f"{title}:\n\n{blocks.table(COLUMNS, rows)}"
        blocks.fill("performance.md", {hardware.block("networks", device): text})


def _one_at_class_0(logits: Tensor) -> Tensor:
    return F.one_hot(torch.zeros(len(logits), dtype=torch.long), logits.shape[1]).to(logits)


if __name__ == "__main__":
    main()
