"""Batches as CUDA graphs: on a CPU with a recorder that runs the pass again, which reads the same memory.

What a capture does not allow, copies between main memory and the device and waiting for a value, is looked for
with fake tensors.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import pytest
import torch
from test_engine import EVERY_RULE, minivgg
from test_engine_on_cuda import SHIPPED, SMALL, compiling, engine_of, inputs_of, small
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from app.lrp.attribution import Attribution, Batch, BatchAttributions, Targets
from app.lrp.composites import resolve
from app.lrp.engine import cuda_graphs
from app.lrp.engine.cuda_graphs import CudaRecorder, GraphedEngine, Pass
from app.lrp.engine.engine import Engine
from app.lrp.graph.kinds import kinds
from app.lrp.graph.traced import TracedModel
from app.lrp.request import ExplanationRequest, Start, Target
from app.models.checkpoint import load
from app.settings import shipped_models

TARGETS = [Target(), Target(3), Target(1, 2, Start.PROBABILITY), Target(None, None, Start.LOGIT)]


@pytest.fixture(autouse=True)
def _record_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graphs, "SIGHTS", 1)


@pytest.fixture
def _copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is brought to main memory is a copy, as it is from a device."""
    monkeypatch.setattr(cuda_graphs, "to_memory", Tensor.clone)


def tensors_of(attribution: Attribution) -> list[Tensor]:
    return [value for value in vars(attribution).values() if isinstance(value, Tensor)]


class Recorder:
    """Counts the passes that are recorded, and those that run, with results in the same memory each time."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, run: Pass) -> Pass:
        self.recorded += 1
        result = run().map(Tensor.clone)

        def replay() -> Attribution:
            self.replayed += 1
            for own, new in zip(tensors_of(result), tensors_of(run()), strict=True):
                own.copy_(new)
            return result

        return replay


def requests_of(
    model: TracedModel, rule: str, targets: Sequence[Target], layer: str | None = None
) -> tuple[ExplanationRequest, ...]:
    composite = resolve(kinds(model.graph), rule, {}, [])
    return tuple(ExplanationRequest(composite, target, layer) for target in targets)


def batch_of(inputs: Tensor, requests: tuple[ExplanationRequest, ...]) -> Batch:
    return Batch(inputs, requests, tuple(range(len(inputs))))


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(minivgg(), torch.tensor(-2.0), torch.tensor(2.0))


def pictures(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 4 - 2


def under_epsilon(count: int) -> Batch:
    return batch_of(pictures(count), requests_of(minivgg(), "epsilon", [Target(0)] * count))


def assert_equal(found: BatchAttributions, expected: BatchAttributions) -> None:
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-5)
    for mine, other in zip(found.attributions, expected.attributions, strict=True):
        assert mine.layers == other.layers
        for name in ("logits", "output_relevance", "relevance", "extremes", "sums", "input_sums", "biases"):
            torch.testing.assert_close(getattr(mine, name), getattr(other, name), rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("_copies")
@pytest.mark.parametrize("rule", ["epsilon_plus_flat", "epsilon", "alpha_beta"])
@pytest.mark.parametrize("layer", [None, "features.5"])
def test_graphs_give_the_engines_attributions(engine: Engine, rule: str, layer: str | None) -> None:
    recorder = Recorder()
    graphed = GraphedEngine(engine, recorder)
    batches = [
        batch_of(pictures(count, seed), requests_of(minivgg(), rule, TARGETS[-count:], layer))
        for seed, count in enumerate((4, 3, 4))
    ]
    found = [graphed.run(batch) for batch in batches]
    for one, batch in zip(found, batches, strict=True):  # the results of the first ones have stayed
        assert_equal(one, engine.run(batch))
    assert recorder.replayed == 3


def test_a_graph_is_recorded_once_for_a_size_and_a_form(engine: Engine) -> None:
    recorder = Recorder()
    graphed = GraphedEngine(engine, recorder)

    def run(targets: Sequence[Target], rule: str = "epsilon") -> int:
        graphed.run(batch_of(pictures(len(targets)), requests_of(minivgg(), rule, targets)))
        return recorder.recorded

    assert run([Target(0)] * 5) == 1
    assert run([Target(index) for index in range(8)]) == 1  # filled up to the same size
    assert run([Target(0)] * 4) == 2
    assert run([Target()] * 8) == 3  # they ask for the highest logit
    assert run([Target(0, start=Start.LOGIT)] * 8) == 4
    assert run([Target(0)] * 8, "z_plus") == 5
    assert run([Target(0)] * 8) == 5
    assert recorder.replayed == 7


def test_only_batches_of_one_kind_with_an_explanation_of_each_input_have_a_graph(engine: Engine) -> None:
    recorder = Recorder()
    graphed = GraphedEngine(engine, recorder)
    first, second = (requests_of(minivgg(), rule, [Target(0)] * 2) for rule in ("epsilon", "z_plus"))
    deeper = requests_of(minivgg(), "epsilon", [Target(0)], "features.5")
    composite = resolve(kinds(minivgg().graph), "gamma", {"gamma": 0.3}, [])
    other_gamma = (ExplanationRequest(composite, Target(0)),) * 2
    many = requests_of(minivgg(), "epsilon", [Target(0)] * (cuda_graphs.MAX_ROWS + 1))
    x = pictures(2)
    batches = [
        Batch(x, (), ()),
        Batch(x, first, (1, 0)),
        Batch(x, first[:1], (1,)),
        Batch(x, (*first, *second), (0, 1, 0, 1)),
        Batch(x, (first[0], second[0]), (0, 1)),
        Batch(x, (first[0], deeper[0]), (0, 1)),
        Batch(x, other_gamma, (0, 1)),
        batch_of(pictures(len(many)), many),
    ]
    for batch in batches:
        assert_equal(graphed.run(batch), engine.run(batch))
    assert recorder.recorded == 0


@pytest.mark.parametrize(
    ("name", "value", "counts", "recorded"),
    [("SIGHTS", 3, (2, 2, 2, 2), [0, 0, 1, 1]), ("GRAPHS_KEPT", 2, (1, 2, 1, 4, 1, 2), [1, 2, 2, 3, 3, 4])],
)
def test_a_graph_is_recorded_when_it_is_wanted_for_the_third_time_and_kept_while_it_is_used(
    name: str,
    value: int,
    counts: Sequence[int],
    recorded: list[int],
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cuda_graphs, name, value)
    recorder, seen = Recorder(), []
    graphed = GraphedEngine(engine, recorder)
    for batch in map(under_epsilon, counts):
        assert_equal(graphed.run(batch), engine.run(batch))
        seen.append(recorder.recorded)
    assert seen == recorded


def test_a_pass_that_cannot_be_recorded_runs_without_a_graph(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    tried = []

    def fail(run: Pass) -> Pass:
        tried.append(run)
        raise RuntimeError("operation not permitted when stream is capturing")

    graphed = GraphedEngine(engine, fail)
    batch = under_epsilon(2)
    for _ in range(2):
        assert_equal(graphed.run(batch), engine.run(batch))
    assert len(tried) == 1
    assert "cannot be recorded as a CUDA graph" in caplog.text


def test_where_memory_does_not_suffice_for_a_graph_others_are_dropped(engine: Engine) -> None:
    recorder, tried = Recorder(), []

    def record(run: Pass) -> Pass:
        tried.append(run)
        if len(tried) == 2:
            raise torch.OutOfMemoryError
        return recorder(run)

    graphed = GraphedEngine(engine, record)
    for batch in map(under_epsilon, (1, 2, 1, 2)):
        assert_equal(graphed.run(batch), engine.run(batch))
    assert len(tried) == 3  # the first one again, and not the second one


def test_where_memory_does_not_suffice_for_a_batch_the_next_one_has_that_of_graphs(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    graphed = GraphedEngine(engine, recorder)
    batch = under_epsilon(1)
    graphed.run(batch)

    def fail(_: Batch) -> BatchAttributions:
        raise torch.OutOfMemoryError

    with monkeypatch.context() as patch:
        patch.setattr(engine, "run", fail)
        with pytest.raises(torch.OutOfMemoryError):
            graphed.run(Batch(pictures(1), (), ()))
    graphed.run(batch)
    assert recorder.recorded == 2


# What a capture does not allow


class Capture(TorchDispatchMode):
    """Raises where a tensor is sent from main memory to a device or back; fake tensors raise if one is read."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [one for one in tree_leaves((args, kwargs, result)) if isinstance(one, Tensor)]
        devices = {one.device.type for one in tensors if one.dim() > 0 or one is result}
        if len(devices) > 1:
            raise RuntimeError(f"{func} copies between main memory and the device")
        return result


def capturing() -> Capture:
    return Capture()  # type: ignore[no-untyped-call] # torch's base class has no types


def capture(model: TracedModel, rule: str) -> None:
    """Run a pass a second time as if it were captured."""
    requests = requests_of(model, rule, TARGETS[:3])
    with FakeTensorMode(), torch.inference_mode():
        inputs = inputs_of(model)
        with compiling(one_sign=False):
            compiled = engine_of(model).compiled(requests[0].composite, inputs)
            targets = Targets(requests, inputs.device)
            compiled(inputs, targets)
        with capturing():
            result = compiled(inputs, targets)
    assert result.relevance.device.type == "cuda"


@pytest.mark.parametrize("rule", EVERY_RULE)
def test_passes_of_minivgg_can_be_captured_under_every_rule(rule: str) -> None:
    capture(minivgg(), rule)


@pytest.mark.parametrize("name", SMALL)
def test_passes_of_small_networks_can_be_captured(name: str) -> None:
    capture(small(name), "epsilon_plus_flat")


@pytest.mark.parametrize("name", SHIPPED)
def test_passes_of_shipped_models_can_be_captured(name: str) -> None:
    capture(load(shipped_models() / name / "card.json")[0], "epsilon")


def test_a_pass_that_sends_targets_is_found() -> None:
    with FakeTensorMode(), capturing(), pytest.raises(RuntimeError, match="copies between"):
        Targets(requests_of(minivgg(), "epsilon", [Target(0)]), torch.device("cuda"))


gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture
def recorder() -> CudaRecorder:
    return CudaRecorder(torch.device("cuda"))


@pytest.mark.gpu
@gpu
@pytest.mark.parametrize("rule", EVERY_RULE)
def test_real_graphs_give_the_engines_attributions(rule: str, recorder: CudaRecorder) -> None:
    low, high = (torch.tensor(edge, device="cuda") for edge in (-2.0, 2.0))
    engine = Engine(minivgg().map_weights(Tensor.cuda), low, high)
    graphed = GraphedEngine(engine, recorder)
    sizes = (1, 3, 4, 1, 4)
    for seed, count in enumerate(chain(sizes, sizes)):
        batch = batch_of(pictures(count, seed).cuda(), requests_of(minivgg(), rule, [Target(seed)] * count))
        assert_equal(graphed.run(batch), engine.run(batch))


@pytest.mark.gpu
@gpu
@pytest.mark.parametrize("name", SHIPPED)
def test_real_graphs_of_shipped_models_give_the_engines_attributions(
    name: str, recorder: CudaRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More graphs than torch has streams, of which two are kept."""
    monkeypatch.setattr(cuda_graphs, "GRAPHS_KEPT", 2)
    model, card = load(shipped_models() / name / "card.json")
    engine = Engine(model.map_weights(Tensor.cuda))
    graphed = GraphedEngine(engine, recorder)
    requests = requests_of(model, "epsilon", [Target(0)] * 4)
    x = torch.from_numpy(card.example_input()).cuda().expand(4, *card.example_input().shape)
    for count in [1, 2, 4] * 25:
        batch = batch_of(x[:count], requests[:count])
        assert_equal(graphed.run(batch), engine.run(batch))


@pytest.mark.gpu
@gpu
def test_a_pass_that_waits_runs_without_a_graph_on_the_stream_as_before(recorder: CudaRecorder) -> None:
    before = torch.cuda.current_stream()

    def run() -> Attribution:
        raise RuntimeError(torch.ones(1, device="cuda").item())

    with pytest.raises(RuntimeError):
        recorder(run)
    assert torch.cuda.current_stream() == before
    test_real_graphs_give_the_engines_attributions("epsilon", recorder)
