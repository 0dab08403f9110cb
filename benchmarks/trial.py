"""Try a network of torchvision: add it as a model, compare it with its references, and measure it.

``python -m benchmarks.trial resnet18 vit_b_16`` prints a line for each network. `docs.make_networks` writes them
all into the documentation, and ``make test-networks`` tests them.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torchvision import models

from app.errors import LRPServeError
from app.lrp.attribution import Attribution, output_relevance
from app.lrp.composites import Composite, resolve
from app.lrp.engine.engine import Engine
from app.lrp.graph.kinds import kinds
from app.lrp.graph.traced import TracedModel
from app.lrp.reference import Reference
from app.lrp.request import ExplanationRequest
from app.models.adding import add
from app.models.checkpoint import load
from app.models.sources.protocol import SourceOptions
from app.models.sources.torchvision import TorchvisionSource
from app.system import keep_freed_memory
from benchmarks.relevance import medians

MAX_PARAMETERS = 250_000_000
"""Larger networks are not tried: in float64, with the weights that rules prepare, they need more than 10 GB."""
SIDE = 64
"""Height and width of the inputs, in pixels, of networks that are not in `SIDES`."""
SIDES: Mapping[str, int] = MappingProxyType({"inception_v3": 96, "maxvit_t": 224})
"""Of networks that need larger inputs, or sides that their windows divide."""
RULES = ("epsilon_plus", "epsilon")
BATCH = 8
"""Inputs in the batch that is timed; engine and reference are compared for one."""
ROUNDS = 3


@dataclass(frozen=True)
class Trial:
    """What was found of a network."""

    name: str
    parameters: int
    side: int
    """Height and width of the inputs."""
    refusal: str | None = None
    """Why the network cannot be served, or was not tried; ``None``: it can."""
    nodes: int = 0
    reference: str = ""
    score_error: float = 0.0
    """‖difference‖ / ‖scores‖ of module and stored model, float32."""
    relevance_error: float = 0.0
    """Largest ‖difference‖ / ‖relevance‖ of engine and reference over `RULES`, float64."""
    leaks: Mapping[str, float] = field(default_factory=dict)
    """By rule."""
    forward_passes: Mapping[str, float] = field(default_factory=dict)
    """Processor time of a batch of explanations in forward passes of the module, by rule. Empty: not measured."""
    seconds: float = 0.0
    """Time of the whole trial."""

    @property
    def line(self) -> str:
        """The findings in words."""
        head = f"{self.name}: {self.parameters / 1e6:.1f} M parameters"
        if self.refusal is not None:
            return f"{head}; {self.refusal}"
        passes = ", ".join(f"{rule} {ratio:.1f}" for rule, ratio in self.forward_passes.items())
        return (
            f"{head}, {self.side}×{self.side}, {self.nodes} nodes; scores {self.score_error:.0e}, relevance "
            f"{self.relevance_error:.0e} from {self.reference}; forward passes: {passes}; {self.seconds:.0f} s"
        )


def names() -> list[str]:
    """Return all networks of torchvision that classify pictures."""
    return list(models.list_models(module=models))


def parameter_count(name: str) -> int:
    """Return how many parameters torchvision states, without building the network."""
    return int(next(iter(models.get_model_weights(name))).meta["num_params"])


def too_large(name: str) -> str | None:
    """Return why a network is not tried, or ``None``."""
    count = parameter_count(name)
    if count <= MAX_PARAMETERS:
        return None
    return f"not tried: {count / 1e6:.0f} M parameters, more than {MAX_PARAMETERS / 1e6:.0f} M"


def tried(name: str) -> Trial:
    """Add a network with random weights to a folder of models, compare what is stored, and measure it."""
    started = time.perf_counter()
    side, count = SIDES.get(name, SIDE), parameter_count(name)
    if reason := too_large(name):
        return Trial(name, count, side, reason)
    torch.manual_seed(0)
    source = TorchvisionSource().load(name, SourceOptions(random_weights=True, size=(side, side)))
    assert isinstance(source.network, nn.Module)
    randomize(source.network)
    try:
        with TemporaryDirectory() as folder:
            added = add(source, name.replace("_", "-"), Path(folder))
            model, _ = load(added.path)
    except LRPServeError as error:
        return Trial(
            name,
            count,
            side,
            f"refused: {' '.join(error.detail.split())}",
            seconds=time.perf_counter() - started,
        )
    bounds = source.input.bounds
    inputs = torch.randn(BATCH, 3, side, side)
    errors, leaks = compared(model, bounds, inputs[:1])
    return Trial(
        name,
        count,
        side,
        None,
        len(model.graph.nodes),
        added.reference,
        added.score_error,
        max(added.relevance_error, *errors.values()),
        leaks,
        measured(source.network, model, bounds, inputs),
        time.perf_counter() - started,
    )


def randomize(network: nn.Module) -> None:
    """Replace values that initialisation sets to the same number by different ones.

    Those are shifts, biases and heads of 0, and scales and variances; so batch norms are no identities, and all
    branches contribute.
    """
    for tensor in network.state_dict().values():
        if tensor.is_floating_point() and tensor.min() == tensor.max():
            if tensor.max() == 0:
                nn.init.normal_(tensor, 0, 0.1)
            else:
                nn.init.uniform_(tensor, 0.5, 1.5)


def compared(
    model: TracedModel, bounds: tuple[Tensor, ...], x: Tensor
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the error of the engine's relevance against the reference, and the leak, in float64, by rule."""
    exact, x = model.map_weights(_in_float64), x.double()
    engine, reference = (kind(exact, *(bound.double() for bound in bounds)) for kind in (Engine, Reference))
    errors, leaks = dict[str, float](), dict[str, float]()
    for rule in RULES:
        composite = resolve(kinds(model.graph), rule, {}, ())
        found, expected = (_explained(one, x, composite) for one in (engine, reference))
        difference = (found.relevance - expected.relevance).norm() / expected.relevance.norm()
        errors[rule], leaks[rule] = (
            float(difference),
            float(1 - found.input_sums / found.output_relevance.sum(1)),
        )
    return errors, leaks


def measured(
    network: nn.Module, model: TracedModel, bounds: tuple[Tensor, ...], inputs: Tensor
) -> dict[str, float]:
    """Return the processor time of a batch of explanations in forward passes of ``network``, by rule.

    It depends less than the time on a clock on what else the machine does, while many networks are tried.
    """
    engine = Engine(model, *bounds)

    def forward() -> None:
        with torch.inference_mode():
            network(inputs)

    candidates: dict[str, Callable[[], object]] = {"forward": forward}
    for rule in RULES:
        composite = resolve(kinds(model.graph), rule, {}, ())
        candidates[rule] = partial(_explained, engine, inputs, composite)
    seconds = medians(candidates, ROUNDS, time.process_time)
    return {rule: seconds[rule] / seconds["forward"] for rule in RULES}


def _explained(explainer: Engine | Reference, x: Tensor, composite: Composite) -> Attribution:
    start = output_relevance([ExplanationRequest(composite)] * len(x))
    return explainer.attribute(x, composite, start)


def _in_float64(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def main() -> None:
    """Print a line for each network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="of torchvision's networks; by default all")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    arguments = parser.parse_args()
    keep_freed_memory()  # as the service does
    for name in arguments.names or names():
        found = tried(name)
        print(json.dumps(asdict(found)) if arguments.json else found.line, flush=True)


if __name__ == "__main__":
    main()
