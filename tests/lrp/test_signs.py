"""Red speaks for the class, whatever the sign of its logit."""

import io
import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from torch import Tensor, nn
from tracing import traced

from app.lrp.attribution import Attribution, Batch, output_relevance
from app.lrp.composites import COMPOSITES, Chain, resolve
from app.lrp.engine.engine import Engine
from app.lrp.graph.kinds import kinds
from app.lrp.graph.traced import TracedModel
from app.lrp.reference import Reference
from app.lrp.request import ExplanationRequest, Start, Target
from app.models.architectures.registry import as_graph
from app.models.bounds import pixel_bounds
from app.models.checkpoint import load_module
from app.settings import shipped_model

SIGNED = ["zero", "epsilon", "gamma"]
UNSIGNED = ["z_plus", "alpha_beta", "z_box", "w_square", "flat"]
BOUNDS = torch.tensor(-5.0), torch.tensor(5.0)
SIDE = 32
TENTH = SIDE * SIDE // 10
CLASSES = 10


def crops_of_a_cat() -> list[Image.Image]:
    """20 squares of a photo, of different sizes and turned."""
    cat = Image.fromarray(np.asarray(data.chelsea()))  # type: ignore[no-untyped-call] # it has no types
    random = np.random.default_rng(0)
    squares = []
    for _ in range(20):
        side = int(random.integers(60, 300))
        left, top = int(random.integers(0, 452 - side)), int(random.integers(0, 301 - side))
        square = cat.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))
        squares.append(square.rotate(90 * int(random.integers(4))))
    return squares


def pictures_of_cifar10() -> list[Image.Image]:
    """20 of CIFAR-10's, evenly from all classes."""
    with ZipFile(Path(os.environ["LRP_CIFAR10"])) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".png"))
        return [Image.open(io.BytesIO(archive.read(name))) for name in names[:: len(names) // 20][:20]]


Pictures = Callable[[], list[Image.Image]]
PICTURES = [
    crops_of_a_cat,
    pytest.param(
        pictures_of_cifar10,
        marks=[
            pytest.mark.cifar10,
            pytest.mark.skipif("LRP_CIFAR10" not in os.environ, reason="LRP_CIFAR10 is not set"),
        ],
    ),
]


class Subject:
    """The shipped network, and maps of every class of some pictures."""

    def __init__(self, pictures: Sequence[Image.Image]) -> None:
        self.network, card = load_module(shipped_model())
        pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))  # (B, H, W, C)
        mean, std = (torch.tensor(v) for v in (card.normalisation.mean, card.normalisation.std))
        self.inputs = ((pixels / 255 - mean) / std).permute(0, 3, 1, 2)  # (B, C, H, W)
        self.model = as_graph(self.network)
        self.engine = Engine(self.model, *pixel_bounds(card.normalisation))
        self.rows = tuple(row for row in range(len(pictures)) for _ in range(CLASSES))
        self.classes = torch.arange(CLASSES).repeat(len(pictures))
        with torch.inference_mode():
            self.logits = self.network(self.inputs).flatten()
        by_chance = torch.rand(len(self.rows), SIDE * SIDE, generator=torch.Generator().manual_seed(0))
        self.falls_by_chance = self.falls(by_chance)

    def maps(self, rule: str, start: Start) -> Tensor:
        """Return the relevance (n, C, H, W) of each class of each picture."""
        composite = resolve(kinds(self.model.graph), rule, {}, [])
        requests = tuple(ExplanationRequest(composite, Target(int(c), start=start)) for c in self.classes)
        result = self.engine.run(Batch(self.inputs, requests, self.rows))
        return torch.cat([one.relevance for one in result.attributions])

    def falls(self, scores: Tensor) -> Tensor:
        """Return 1 where the logit falls if the tenth of the pixels with the highest scores gets the mean colour.

        (n, pixels) -> (n,); 0 elsewhere.
        """
        highest = scores.topk(TENTH, dim=1).indices
        covered = torch.zeros_like(scores, dtype=torch.bool).scatter(1, highest, value=True)
        inputs = self.inputs[list(self.rows)].masked_fill(covered.view(-1, 1, SIDE, SIDE), 0.0)
        with torch.inference_mode():
            after = torch.cat([self.network(part) for part in inputs.split(100)])
        fell: Tensor = after[torch.arange(len(after)), self.classes] < self.logits
        return fell.double()


@cache
def subject(pictures: Pictures) -> Subject:
    return Subject(pictures())


@pytest.mark.parametrize("pictures", PICTURES)
@pytest.mark.parametrize("rule", [*COMPOSITES, *SIGNED])
def test_red_is_what_raises_the_logit_where_the_logit_is_negative_too(rule: str, pictures: Pictures) -> None:
    tested = subject(pictures)
    one, of_logit = tested.maps(rule, Start.ONE), tested.maps(rule, Start.LOGIT)
    expected = of_logit / tested.logits.abs().view(-1, 1, 1, 1)
    assert ((one - expected).flatten(1).norm(dim=1) <= 1e-4 * expected.flatten(1).norm(dim=1)).all()

    falls = tested.falls(one.sum(1).flatten(1))  # (n, C, H, W) -> (n, H·W)
    for sign in (tested.logits < 0, tested.logits > 0):
        assert sign.sum() > 50
        assert falls[sign].mean() > tested.falls_by_chance[sign].mean()


# By hand


def single(weights: list[list[float]]) -> TracedModel:
    network = nn.Sequential(nn.Linear(len(weights[0]), len(weights), bias=False)).double()
    network[0].weight = nn.Parameter(torch.tensor(weights, dtype=torch.float64))
    return traced(network, len(weights[0]))


def attribute(network: TracedModel, x: list[float], rule: str, target: Target, engine: type) -> Attribution:
    composite = resolve(kinds(network.graph), rule, {}, [])
    start = output_relevance([ExplanationRequest(composite, target)])
    explained: Attribution = engine(network, *BOUNDS).attribute(
        torch.tensor([x], dtype=torch.float64), composite, start
    )
    return explained


@pytest.mark.parametrize("engine", [Engine, Reference])
@pytest.mark.parametrize(
    ("rule", "start", "put_in", "relevance"),
    [  # x = [1, 1], w = [1, −2], f = −1
        ("zero", Start.ONE, -1, [1, -2]),
        ("zero", Start.LOGIT, -1, [1, -2]),
        ("zero", Start.PROBABILITY, -1, [1, -2]),  # of the only class
        ("epsilon", Start.ONE, -1, [1, -2]),
        ("gamma", Start.ONE, -1, [1 / 1.5, -2.5 / 1.5]),  # w + γw⁻ = [1, −2.5]
        ("z_plus", Start.ONE, 1, [1, 0]),
        ("z_plus", Start.PROBABILITY, 1, [1, 0]),
        ("z_plus", Start.LOGIT, -1, [-1, 0]),
        ("alpha_beta", Start.ONE, 1, [2, -1]),
        ("w_square", Start.ONE, 1, [0.2, 0.8]),
        ("flat", Start.ONE, 1, [0.5, 0.5]),
        ("z_box", Start.ONE, 1, [6 / 14, 8 / 14]),  # l = −5, h = 5: 1·(1 − l) of 6 + 8, and −2·(1 − h)
        ("epsilon_plus", Start.ONE, -1, [1, -2]),
        ("epsilon_plus_flat", Start.ONE, 1, [0.5, 0.5]),  # the output layer is the first one, which gets flat
    ],
)
def test_one_layer_by_hand(
    rule: str, start: Start, put_in: float, relevance: list[float], engine: type[Engine | Reference]
) -> None:
    explained = attribute(single([[1.0, -2.0]]), [1.0, 1.0], rule, Target(0, start=start), engine)
    assert explained.output_relevance.tolist() == [[put_in]]
    torch.testing.assert_close(explained.relevance[0], torch.tensor(relevance).double(), rtol=1e-5, atol=1e-6)


LOGITS = torch.tensor([[-2.0, 0.0, 3.0]], dtype=torch.float64)
P = LOGITS[0].softmax(0).tolist()


@pytest.mark.parametrize(
    ("target", "signed", "unsigned"),
    [
        (Target(0), [-1, 0, 0], [1, 0, 0]),
        (Target(1), [0, 1, 0], [0, 1, 0]),
        (Target(2), [0, 0, 1], [0, 0, 1]),
        (Target(), [0, 0, 1], [0, 0, 1]),
        (Target(0, start=Start.PROBABILITY), [-P[0], 0, 0], [P[0], 0, 0]),
        (Target(2, start=Start.PROBABILITY), [0, 0, P[2]], [0, 0, P[2]]),
        (Target(0, start=Start.LOGIT), [-2, 0, 0], [-2, 0, 0]),
        (Target(2, 0), [1, 0, 1], [-1, 0, 1]),
        (Target(0, 2), [-1, 0, -1], [1, 0, -1]),
        (Target(2, 0, Start.LOGIT), [2, 0, 3], [2, 0, 3]),
    ],
)
def test_what_is_put_in_has_the_sign_of_the_logit_where_the_rule_divides_by_it(
    target: Target, signed: list[float], unsigned: list[float]
) -> None:
    dense: Chain = (("first", "dense"), ("relu", "other"), ("last", "dense"))
    for rules, expected in (([*COMPOSITES, *SIGNED], signed), (UNSIGNED, unsigned)):
        for rule in rules:
            put_in = output_relevance([ExplanationRequest(resolve(dense, rule, {}, []), target)])(LOGITS)
            assert put_in[0].tolist() == pytest.approx(expected), rule


DENSE: Chain = (("conv", "convolution"), ("relu", "other"), ("last", "dense"))
CONVOLUTIONAL: Chain = (("conv", "convolution"), ("last", "convolution"), ("flatten", "other"))


@pytest.mark.parametrize(
    ("chain", "rule", "overrides", "divides"),
    [
        (DENSE, "epsilon_plus", [], True),
        (DENSE, "epsilon_plus", ["last:z_plus"], False),
        (DENSE, "epsilon_plus", ["conv:z_plus"], True),
        (DENSE, "z_plus", ["last:gamma"], True),
        (DENSE, "z_plus", ["*:zero", "last:alpha_beta"], False),
        (DENSE, "z_box", [], False),  # z_plus above the first layer
        (DENSE[2:], "epsilon_plus", [], True),
        (DENSE[2:], "epsilon_plus_flat", [], False),  # the first layer is the last
        (CONVOLUTIONAL, "epsilon_plus", [], False),
        (CONVOLUTIONAL, "epsilon_gamma_box", [], True),
        ((*CONVOLUTIONAL, ("mean", "proportional")), "epsilon_plus", [], True),  # in proportion to its inputs
        (DENSE[1:2], "epsilon_plus", [], True),  # relevance passes as it is
    ],
)
def test_the_rule_that_the_output_layer_got_decides(
    chain: Chain, rule: str, overrides: list[str], *, divides: bool
) -> None:
    assert resolve(chain, rule, {}, overrides).divides_by_logit is divides
