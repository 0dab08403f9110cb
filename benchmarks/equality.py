"""Measure the difference between the engine and Zennit for every composite and rule, on several networks.

The figure is ‖R − R_Zennit‖ / ‖R_Zennit‖, the maximum over the batches. Prints a Markdown table. Run with
``python -m benchmarks.equality``; ``--write`` also writes it into ``docs/correctness.md``.
"""

import argparse
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version

import torch
from torch import Tensor, nn

from app.lrp.attribution import output_relevance
from app.lrp.composites import COMPOSITES, Composite, resolve
from app.lrp.engine.engine import Engine
from app.lrp.graph.kinds import kinds
from app.lrp.graph.trace import trace
from app.lrp.graph.traced import TracedModel
from app.lrp.reference import Reference
from app.lrp.request import ExplanationRequest, Start, Target
from app.lrp.rules import RULES
from app.models.architectures.minivgg import MiniVGG
from app.models.architectures.registry import as_graph
from app.models.bounds import pixel_bounds
from app.models.checkpoint import load_image
from app.settings import shipped_model
from docs import blocks

NAMES: Mapping[torch.dtype, str] = {torch.float64: "float64", torch.float32: "float32"}
BATCHES = (1, 8)
CHAIN_SIZE = (3, 21, 21)


class Subject:
    """A network in one precision, with both engines. ``size`` is the shape of an input, (3, H, W)."""

    def __init__(self, name: str, model: TracedModel, size: tuple[int, int, int], dtype: torch.dtype) -> None:
        low, high = (bound.to(dtype) for bound in pixel_bounds(load_image(shipped_model())[1].normalisation))
        self.name = f"{NAMES[dtype]}, {name}"
        model = model.map_weights(lambda tensor: tensor.to(dtype))
        self._chain = kinds(model.graph)
        self._engines = [engine(model, low, high) for engine in (Engine, Reference)]
        self._inputs = [
            low
            + (high - low)
            * torch.rand(batch, *size, generator=torch.Generator().manual_seed(batch)).to(dtype)
            for batch in BATCHES
        ]

    def difference(self, rule: str) -> float:
        """Return ‖R − R_Zennit‖ / ‖R_Zennit‖ under a rule, the maximum over the batches."""
        composite = resolve(self._chain, rule, {}, [])
        return max(self._difference(inputs, composite) for inputs in self._inputs)

    def _difference(self, inputs: Tensor, composite: Composite) -> float:
        targets = [Target(row % 10, None, Start.LOGIT) for row in range(len(inputs))]
        start = output_relevance([ExplanationRequest(composite, target) for target in targets])
        ours, theirs = (
            engine.attribute(inputs, composite, start).relevance.double() for engine in self._engines
        )
        return float((ours - theirs).norm() / theirs.norm())


def subjects() -> list[Subject]:
    """Return the shipped network, an untrained MiniVGG, and two untrained chains of other layers, as subjects."""
    trained, card = load_image(shipped_model())
    torch.manual_seed(0)
    networks: list[tuple[str, TracedModel, tuple[int, int, int]]] = [
        ("shipped", trained, card.input_size),
        ("random MiniVGG", as_graph(MiniVGG()), card.input_size),
        ("random chain", _chain(bias=True), CHAIN_SIZE),
        ("chain without biases", _chain(bias=False), CHAIN_SIZE),
    ]
    return [Subject(name, model, size, dtype) for dtype in NAMES for name, model, size in networks]


def figures(columns: Sequence[Subject], rules: Sequence[str]) -> str:
    """Return a Markdown table with a row for each rule and a column for each subject."""
    rows = [[f"`{rule}`", *(f"{subject.difference(rule):.1e}" for subject in columns)] for rule in rules]
    return blocks.table(["rule", *(subject.name for subject in columns)], rows)


def _chain(*, bias: bool) -> TracedModel:
    """Return a network with strides, dilation, groups, overlapping pooling and average pooling."""
    layers = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=bias),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, dilation=2, bias=bias),
        nn.ReLU(),
        nn.MaxPool2d(3, 1),
        nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=bias),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 10, bias=bias),
    )
    return trace(layers, torch.zeros(1, *CHAIN_SIZE))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="also write it into docs/correctness.md")
    arguments = parser.parse_args()
    machine = f"{platform.machine()}, torch {version('torch')}, zennit {version('zennit')}"
    table = figures(subjects(), (*COMPOSITES, *RULES))
    text = f"{table}\n\nOn {machine}; batches of {BATCHES[0]} and {BATCHES[1]}."
    print(text)
    if arguments.write:
        blocks.fill("correctness.md", {"equality": text})


if __name__ == "__main__":
    main()
