"""Measure the engine's speed against Zennit, the forward pass alone and the machine's matrix product.

Within a round, all candidates of a row are measured in turn, so that a noisy machine affects them equally;
figures are medians over the rounds. Run with ``make bench``, or
``python -m benchmarks.relevance --rounds 7 --batch 1 8 32``.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Column, Table

from app.lrp.attribution import Targets, output_relevance
from app.lrp.composites import COMPOSITES, resolve
from app.lrp.engine.cuda_graphs import CudaRecorder
from app.lrp.engine.engine import Engine
from app.lrp.graph.kinds import kinds
from app.lrp.reference import Reference
from app.lrp.request import ExplanationRequest
from app.models.architectures.registry import as_graph
from app.models.bounds import pixel_bounds
from app.models.checkpoint import load_module
from app.models.device import has_bfloat16
from app.settings import shipped_model
from app.system import keep_freed_memory
from benchmarks import hardware
from docs import blocks

MACS_FORWARD = (
    3 * 32 * 9 * 1024 + 32 * 64 * 9 * 1024 + 64 * 128 * 9 * 256 + 128 * 128 * 9 * 256 + 8192 * 256 + 2560
)
"""Multiplications of one picture's forward pass."""
MACS_DEFAULT = 3 * MACS_FORWARD - 3 * 32 * 9 * 1024 - 8192 * 256 - 2560
"""Multiplications of `epsilon_plus_flat`: a forward pass, a second one without the first layer and the dense
layers, and a transposed pass."""
MATRIX_SIDE = 1024
COLUMNS = [
    "rule",
    "batch",
    "engine/s",
    "Zennit/s",
    "× Zennit",
    "forward passes",
    "of matmul bound",
    "bfloat16 engine/s",
    "bfloat16 × Zennit",
    "bfloat16 Zennit/s",
]

OF_GPU = ["CUDA graph engine/s"]
"""Further columns on a GPU."""


def medians(
    candidates: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Return the median seconds of each candidate, measured in turn after one call without measurement."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for run in candidates.values():
        run()
    for _ in range(rounds):
        for name, run in candidates.items():
            started = clock()
            run()
            times[name].append(clock() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def measure(
    card: Path, composite_name: str, batch: int, rounds: int, device: torch.device
) -> dict[str, float]:
    """Return the median seconds per batch of each of `candidates`."""
    return medians(candidates(card, composite_name, batch, device), rounds, hardware.clock(device))


def candidates(
    card: Path, composite_name: str, batch: int, device: torch.device
) -> dict[str, Callable[[], object]]:
    """Return what is measured for a batch: the engine, Zennit, the forward pass and a matrix product.

    The engine and Zennit in bfloat16 are among them where the device has instructions for it.
    """
    net, loaded = load_module(card)
    net = net.to(device)
    model = as_graph(net)
    low, high = (bound.to(device) for bound in pixel_bounds(loaded.normalisation))
    engine, reference = Engine(model, low, high), Reference(model, low, high)
    composite = resolve(kinds(model.graph), composite_name, {}, [])
    inputs = torch.randn(batch, *loaded.input_size, generator=torch.Generator().manual_seed(0)).to(device)
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    start = output_relevance([ExplanationRequest(composite)] * batch)
    net = net.to(memory_format=torch.channels_last)
    square = torch.randn(MATRIX_SIDE, MATRIX_SIDE, device=device)

    def forward() -> None:
        with torch.inference_mode():
            net(inputs)

    def autocast() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            reference.attribute(inputs, composite, start)

    found: dict[str, Callable[[], object]] = {
        "engine": lambda: engine.attribute(inputs, composite, start),
        "zennit": lambda: reference.attribute(inputs, composite, start),
        "forward": forward,
        "matmul": lambda: square @ square,
    }
    if has_bfloat16(device):
        rounded = Engine(model, low, high, products=torch.bfloat16)
        found["bfloat16"] = lambda: rounded.attribute(inputs, composite, start)
        found["autocast"] = autocast
    if device.type == "cuda":
        targets = Targets([ExplanationRequest(composite)] * batch, device)
        with torch.inference_mode():
            compiled = engine.compiled(composite, inputs)
            found["graph"] = CudaRecorder(device)(partial(compiled, inputs, targets))
    return found


def main() -> None:
    """Print the table of all rules and batch sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=shipped_model())
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--rule", nargs="+", default=list(COMPOSITES))
    parser.add_argument("--write", action="store_true", help="also write the table into docs/performance.md")
    arguments = parser.parse_args()
    device = hardware.device(arguments.device)
    keep_freed_memory()

    machine = f"{hardware.described(device)}, torch {version('torch')}, zennit {version('zennit')}"
    rows = [line(arguments, rule, batch, device) for rule in arguments.rule for batch in arguments.batch]
    title = f"Explanations per second, and ratios of medians over {arguments.rounds} rounds ({machine})"
    columns = [*COLUMNS, *(OF_GPU if device.type == "cuda" else [])]
    table = Table(*(Column(name, justify="right") for name in columns), title=title)
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)
    if arguments.write:
        text = f"{title}:\n\n{blocks.table(columns, rows)}"
        blocks.fill("performance.md", {hardware.block("engine", device): text})


def line(arguments: argparse.Namespace, rule: str, batch: int, device: torch.device) -> list[str]:
    """Measure one rule and batch size; return the row for `COLUMNS`, and on a GPU for `OF_GPU`."""
    times = measure(arguments.model, rule, batch, arguments.rounds, device)
    bound = batch * MACS_DEFAULT / MATRIX_SIDE**3 * times["matmul"]
    return [
        rule,
        str(batch),
        f"{batch / times['engine']:.0f}",
        f"{batch / times['zennit']:.0f}",
        f"{times['zennit'] / times['engine']:.2f}",
        f"{times['engine'] / times['forward']:.2f}",
        f"{bound / times['engine']:.0%}" if rule == "epsilon_plus_flat" else "–",
        *in_bfloat16(times, batch),
        *([f"{batch / times['graph']:.0f}"] if "graph" in times else []),
    ]


def in_bfloat16(times: dict[str, float], batch: int) -> list[str]:
    """Return the last three cells of `line`."""
    if "bfloat16" not in times:
        return ["–"] * 3
    return [
        f"{batch / times['bfloat16']:.0f}",
        f"{times['zennit'] / times['bfloat16']:.2f}",
        f"{batch / times['autocast']:.0f}",
    ]


if __name__ == "__main__":
    main()
