"""The engine gives Zennit's numbers."""

import threading

import pytest
import torch
from torch import Tensor, nn

from app.lrp.composites import COMPOSITES, RULES, resolve
from app.lrp.engine import Engine, NotCompilableError
from app.lrp.reference import Reference
from app.lrp.seed import Explanation, Question, Start, seed
from app.models.checkpoint import load
from app.models.minivgg import MiniVGG
from app.settings import shipped_model

EVERY_RULE = [*COMPOSITES, *RULES]
QUESTIONS = [Question(), Question(3, 5), Question(2, None, Start.LOGIT)]


def bounds(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return torch.full((1, 3, 1, 1), -2.0, dtype=dtype), torch.full((1, 3, 1, 1), 2.0, dtype=dtype)


def difference(ours: Explanation, theirs: Explanation) -> float:
    return float((ours.relevance - theirs.relevance).norm() / theirs.relevance.norm())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize("rule", EVERY_RULE)
def test_engine_equals_zennit_on_the_shipped_network(rule: str, dtype: torch.dtype, tolerance: float) -> None:
    model = load(shipped_model())[0].to(dtype)
    inputs = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=dtype)
    composite = resolve(model, rule, {}, [])
    ours, theirs = (
        engine(model, *bounds(dtype)).explain(inputs, composite, seed(QUESTIONS))
        for engine in (Engine, Reference)
    )
    assert difference(ours, theirs) <= tolerance
    assert [name for name, _ in ours.sums] == [name for name, _ in theirs.sums]
    for (_, mine), (_, other) in zip(ours.sums, theirs.sums, strict=True):
        torch.testing.assert_close(mine, other, rtol=100 * tolerance, atol=100 * tolerance)


@pytest.mark.parametrize("rule", EVERY_RULE)
@pytest.mark.parametrize("bias", [True, False])
def test_engine_equals_zennit_on_other_chains(rule: str, *, bias: bool) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=bias),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, dilation=2, bias=bias),
        nn.ReLU(),
        nn.MaxPool2d(3, 1),
        nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=bias),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(8, 8, 1, bias=bias),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 10, bias=bias),
    ).double()
    inputs = torch.randn(17, 3, 21, 21, dtype=torch.float64)
    composite = resolve(model, rule, {}, [])
    start = seed([Question(i % 10) for i in range(17)])
    ours, theirs = (
        engine(model, *bounds(torch.float64)).explain(inputs, composite, start)
        for engine in (Engine, Reference)
    )
    assert difference(ours, theirs) <= 1e-10


def test_layer_gives_the_relevance_at_its_input() -> None:
    model = MiniVGG().eval().double()
    inputs = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    composite = resolve(model, "epsilon_plus", {}, ["features.0:w_square"])
    for layer in ("features.6", "classifier.1"):
        ours, theirs = (
            engine(model, *bounds(torch.float64)).explain(inputs, composite, seed([Question()] * 2), layer)
            for engine in (Engine, Reference)
        )
        assert difference(ours, theirs) <= 1e-10


def test_threads_do_not_spoil_each_other() -> None:
    model = MiniVGG().eval()
    engine = Engine(model, *bounds(torch.float32))
    inputs = torch.randn(1, 3, 32, 32)
    composites = [resolve(model, rule, {}, []) for rule in ("epsilon_plus_flat", "epsilon_gamma_box")]
    alone = [engine.explain(inputs, c, seed([Question()])).relevance for c in composites]
    wrong: list[int] = []

    def work(which: int) -> None:
        for _ in range(5):
            again = engine.explain(inputs, composites[which], seed([Question()])).relevance
            if not torch.allclose(again, alone[which], rtol=1e-4, atol=1e-6):
                wrong.append(which)

    threads = [threading.Thread(target=work, args=(i % 2,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_layer_without_a_step_is_named() -> None:
    with pytest.raises(NotCompilableError, match="Tanh"):
        Engine(nn.Sequential(nn.Linear(2, 2), nn.Tanh()), torch.zeros(1), torch.ones(1))
