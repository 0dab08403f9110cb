"""A network in this process: any graph is explained, and one that does not run is refused at load."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tracing import traced

from app.errors import RefusedToStartError
from app.lrp.composites import resolve
from app.lrp.graph.traced import TracedModel
from app.lrp.request import ExplanationRequest
from app.models.architectures.minivgg import MiniVGG
from app.models.architectures.registry import as_graph
from app.models.image_card import ImageCard, Normalisation
from app.models.local import LocalModel
from app.models.protocol import Job

CPU = torch.device("cpu")
CARD = ImageCard(
    name="made-up",
    architecture="MadeUp",
    classes=("one", "other"),
    normalisation=Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
    input_size=(3, 8, 8),
    files={"weights.safetensors": "0" * 64},
)


class Chain(nn.Module):
    """A convolution, a batch norm, two more convolutions and a dense layer, registered in that order."""

    def __init__(self, *, inplace: bool = False) -> None:
        super().__init__()
        self.stem, self.norm, self.relu = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace)
        self.inner = nn.Conv2d(4, 4, 3, padding=1)
        self.flatten, self.dense = nn.Flatten(), nn.Linear(4 * 8 * 8, 2)
        self.norm.running_mean, self.norm.running_var = torch.randn(4), torch.rand(4) + 0.5

    def forward(self, x: Tensor) -> Tensor:
        dense: Tensor = self.dense(self.flatten(self.inner(self.relu(self.norm(self.stem(x))))))
        return dense


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Residual(Chain):
    """A sum, a ReLU that is no module, and layers that are not registered in the order in which they run."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.stem(x)))
        dense: Tensor = self.dense(self.flatten(F.relu(x + self.inner(x))))
        return dense


def network(model: nn.Module | None = None) -> TracedModel:
    return traced(model or Chain(), *CARD.input_size)


def job(model: LocalModel, *rules: str, verify: bool = False) -> Job:
    requests = tuple(ExplanationRequest(resolve(model.description.chain, rule, {}, [])) for rule in rules)
    x = np.random.default_rng(0).normal(size=CARD.input_size).astype(np.float32)
    return Job(x, requests, verify=verify)


@pytest.mark.parametrize("module", [Chain, Residual])
def test_any_graph_is_run_and_verified(module: type[Chain]) -> None:
    made = module().eval()
    model = LocalModel(network(made), CARD, CPU)
    asked = job(model, "epsilon_plus", verify=True)
    (result,) = model.run([asked])
    np.testing.assert_allclose(
        result.logits, made(torch.from_numpy(asked.input)[None])[0].tolist(), rtol=1e-4
    )
    assert result.verified is not None
    (ours,), (theirs,) = result.explanations, result.verified
    np.testing.assert_allclose(ours.relevance, theirs.relevance, rtol=1e-3, atol=1e-5)
    assert ours.input_sum == pytest.approx(float(ours.relevance.sum()), rel=1e-3)
    assert model.description.engine == "lrpserve"
    assert model.description.reference.startswith("zennit ")


def test_layers_are_described_by_their_modules_or_operations() -> None:
    layers = {layer.name: layer for layer in LocalModel(network(Residual()), CARD, CPU).description.layers}
    assert (layers["inner"].kind, layers["inner"].description) == ("Conv2d", repr(Chain().inner))
    assert (layers["add"].kind, layers["add"].description) == ("add", "add()")


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({}, r"made-up: its graph\.json cannot be run \(KeyError: 'shape'"),
        ({"shape": ["B", 7]}, r"made-up: its graph\.json cannot be run \(RuntimeError: .*"),
    ],
)
def test_a_graph_with_attributes_that_do_not_fit_is_refused_in_one_line(
    attributes: dict[str, object], message: str
) -> None:
    model = network()
    damaged = [replace(n, attributes=attributes) if n.op == "reshape" else n for n in model.graph]
    with pytest.raises(RefusedToStartError, match=message) as refused:
        LocalModel(replace(model, graph=replace(model.graph, nodes=tuple(damaged))), CARD, CPU)
    assert "\n" not in refused.value.detail


def test_a_graph_with_sizes_that_contradict_each_other_is_refused() -> None:
    model = network()
    shapes = {"reshape": ("B", 10**18)}
    damaged = [replace(n, shape=shapes.get(n.op, n.shape)) for n in model.graph]
    with pytest.raises(RefusedToStartError, match=r"graph\.json cannot be run \(ZeroDivisionError"):
        LocalModel(replace(model, graph=replace(model.graph, nodes=tuple(damaged))), CARD, CPU)


def test_untrained_networks_are_taken_whatever_the_size_of_their_scores() -> None:
    card = CARD.model_copy(update={"input_size": MiniVGG.input_size})
    for scale in (1e-6, 1.0, 1e6):
        model = MiniVGG(2)
        with torch.no_grad():
            model.get_parameter("classifier.4.weight").mul_(scale)
        LocalModel(as_graph(model), card, CPU)


SERVES = """
import sys
import numpy as np
from app.lrp.composites import resolve
from app.lrp.request import ExplanationRequest
from app.models.local import LocalModel
from app.models.protocol import Job
from app.settings import shipped_model

model = LocalModel.load(shipped_model(), "cpu", 1)
request = ExplanationRequest(resolve(model.description.chain, "epsilon_plus_flat", {}, []))
model.run([Job(np.zeros((3, 32, 32), np.float32), (request,))])
others = {"torchvision", "timm", "transformers", "zennit", "sympy", "app.lrp.graph.trace"}
print(*others.intersection(sys.modules))
"""


def test_an_explanation_needs_no_library_that_networks_come_from() -> None:
    done = subprocess.run([sys.executable, "-c", SERVES], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
