"""The engine on networks that are no chains: values with several users, and batch axes that are not the first."""

from collections.abc import Callable, Mapping
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tracing import traced

from app.lrp.attribution import Batch, output_relevance
from app.lrp.composites import COMPOSITES, resolve
from app.lrp.engine.engine import Engine
from app.lrp.engine.forward import forward_pass
from app.lrp.engine.layout import Layout, layouts
from app.lrp.graph.kinds import kinds, layer_nodes
from app.lrp.graph.trace import trace
from app.lrp.graph.traced import TracedModel
from app.lrp.reference import Reference
from app.lrp.request import ExplanationRequest, Target
from app.lrp.rules import ATTENTION_RULES, RULES, AttentionRule
from app.lrp.samples import Samples

F64 = torch.float64
BOUNDS = torch.tensor(-2.0, dtype=F64), torch.tensor(2.0, dtype=F64)
EVERY_RULE = [*COMPOSITES, *RULES]


class Residual(nn.Module):
    """Two residual sums, the first of which skips a ReLU, and two users of one value: (B, 3, 6, 6) -> (B, 5)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1))
        self.shortcut, self.other = nn.Conv2d(4, 6, 1, stride=2), nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)  # (B, 4, 6, 6)
        x = torch.relu(x + self.block(x))
        x = torch.relu(self.shortcut(x) + self.other(x))  # (B, 6, 3, 3)
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class TokensFirst(nn.Module):
    """Attention of two heads whose tokens are in front of the batch: (B, 4, 6) -> (B, 5)."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.attention = nn.Linear(6, 8), nn.MultiheadAttention(8, 2)
        self.norm, self.dropout, self.head = nn.LayerNorm(8), nn.Dropout(0.4), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x).transpose(0, 1)  # (4, B, 8)
        y = self.norm(x)
        x = x + self.dropout(self.attention(y, y, y, need_weights=False)[0])
        logits: Tensor = self.head(torch.tanh(x).mean(0))
        return logits


class Transformer(nn.Module):
    """A block of a transformer, with GELU and dropout between its dense layers: (B, 4, 6) -> (B, 5)."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.norm, self.norm_2 = nn.Linear(6, 8), nn.LayerNorm(8), nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.dense = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Dropout(0.1), nn.Linear(16, 8))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        x = x + self.dense(self.norm_2(x))
        logits: Tensor = self.head(x.mean(1))
        return logits


class Windows(nn.Module):
    """A dense layer of windows, which are behind the batch, as in Swin: (B, 2, 4, 4) -> (B, 5)."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(8, 6), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        batch = x.shape[0]
        x = x.view(batch, 2, 2, 2, 2, 2).permute(
            0, 2, 4, 1, 3, 5
        )  # rows and columns of windows, then their own
        x = x.reshape(batch * 4, 8)
        x = torch.relu(self.inner(x))  # (B * 4, 6)
        logits: Tensor = self.head(x.reshape(batch, 24))
        return logits


class Functions(nn.Module):
    """Norms, powers and other functions of single values."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.normalize(self.first(x), dim=1).abs().clamp(0.1, 0.9)
        x = x.pow(2).exp() + torch.linalg.vector_norm(x, dim=1, keepdim=True)
        logits: Tensor = self.last(x)
        return logits


NETWORKS: Mapping[str, tuple[tuple[int, ...], Callable[[], nn.Module]]] = {
    "residual": ((3, 6, 6), Residual),
    "tokens first": ((4, 6), TokensFirst),
    "transformer": ((4, 6), Transformer),
    "windows": ((2, 4, 4), Windows),
    "functions": ((6,), Functions),
}


@cache
def model_of(name: str) -> tuple[nn.Module, TracedModel]:
    torch.manual_seed(0)
    shape, build = NETWORKS[name]
    module = build().double().eval()
    return module, traced(module, *shape)


def inputs_of(name: str, batch: int = 4) -> Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randn(batch, *NETWORKS[name][0], dtype=F64, generator=random).clamp(-2, 2)


def random_start(logits: Tensor) -> Tensor:
    return torch.randn(logits.shape, generator=torch.Generator().manual_seed(4)).to(logits)


def close(ours: Tensor, theirs: Tensor) -> bool:
    return bool((ours - theirs).norm() <= 1e-9 * theirs.norm())


@pytest.mark.parametrize("attention", ATTENTION_RULES)
@pytest.mark.parametrize("rule", EVERY_RULE)
@pytest.mark.parametrize("name", NETWORKS)
def test_engine_equals_the_reference_at_every_layer(name: str, rule: str, attention: AttentionRule) -> None:
    module, model = model_of(name)
    composite = resolve(kinds(model.graph), rule, {}, [], attention=attention)
    inputs = inputs_of(name)
    layers = [None] if rule != "epsilon" else [None, *(node.name for node in layer_nodes(model.graph))]
    for layer in layers:
        ours, theirs = (
            engine(model, *BOUNDS).attribute(inputs, composite, random_start, layer)
            for engine in (Engine, Reference)
        )
        torch.testing.assert_close(ours.logits, module(inputs).detach())
        assert ours.relevance.shape == theirs.relevance.shape
        assert close(ours.relevance, theirs.relevance), layer
        torch.testing.assert_close(ours.sums, theirs.sums, rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(ours.biases, theirs.biases, rtol=1e-7, atol=1e-7)
        torch.testing.assert_close(
            ours.input_sums, ours.relevance.flatten(1).sum(1)
        ) if layer is None else None


class WithToken(nn.Module):
    """Tokens with one more that is the same for all inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.ones(1, 1, 3))
        self.last = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(torch.cat((self.token.expand(x.shape[0], -1, -1) * 2, x), 1).sum(1))
        return logits


def test_layers_are_the_nodes_that_depend_on_the_input() -> None:
    model = trace(WithToken().double(), torch.randn(2, 4, 3, dtype=F64))
    composite = resolve(kinds(model.graph), "epsilon", {}, [])
    for engine in (Engine(model, *BOUNDS), Reference(model, *BOUNDS)):
        found = engine.attribute(torch.randn(2, 4, 3, dtype=F64), composite, random_start)
        assert found.layers == tuple(name for name, _ in composite.layers) == ("cat", "sum", "last")


@pytest.mark.parametrize("name", NETWORKS)
def test_requests_of_a_batch_get_what_they_get_alone(name: str) -> None:
    """In any order of the rows, whichever of their rules differ."""
    _, model = model_of(name)
    names = [node.name for node in layer_nodes(model.graph)]
    asked = [
        ("epsilon_plus_flat", [], None, 3),
        ("epsilon_plus", [], names[1], 1),
        ("epsilon_plus_flat", [], None, 1),
        ("epsilon", ["*:gamma"], names[-2], 0),
        ("epsilon", [f"{names[-1]}:z_plus"], None, 2),
        ("epsilon_plus_flat", [], names[2], 2),
    ]
    requests = tuple(
        ExplanationRequest(
            resolve(kinds(model.graph), rule, {}, overrides, attention=ATTENTION_RULES[i % 2]),
            Target(i % 5),
            at,
        )
        for i, (rule, overrides, at, _) in enumerate(asked)
    )
    inputs, engine = inputs_of(name), Engine(model, *BOUNDS)
    together = engine.run(Batch(inputs, requests, tuple(row for *_, row in asked)))
    for request, (*_, row), mine in zip(requests, asked, together.attributions, strict=True):
        alone = Engine(model, *BOUNDS).attribute(
            inputs[row : row + 1], request.composite, output_relevance([request]), request.layer
        )
        assert mine.relevance.shape == alone.relevance.shape
        assert close(mine.relevance, alone.relevance)
        torch.testing.assert_close(mine.sums, alone.sums)
        torch.testing.assert_close(mine.input_sums, alone.input_sums)


@pytest.mark.parametrize("attention", ATTENTION_RULES)
def test_samples_equal_the_references_where_the_batch_is_not_the_first_axis(attention: AttentionRule) -> None:
    _, model = model_of("tokens first")
    composite = resolve(kinds(model.graph), "epsilon", {}, [], attention=attention)
    requests = [ExplanationRequest(composite, Target(1)), ExplanationRequest(composite, layer="norm")]
    ours, theirs = (
        engine(model, *BOUNDS).sample(inputs_of("tokens first", 1), requests, Samples(5), 3)
        for engine in (Engine, Reference)
    )
    assert close(ours.sample_logits, theirs.sample_logits)
    assert float(ours.sample_logits.std(0).min()) > 0
    for mine, other in zip(ours.attributions, theirs.attributions, strict=True):
        assert close(mine.relevance, other.relevance)


def held(name: str, rule: str, attention: AttentionRule = "cp") -> set[str]:
    """Nodes whose output is in memory when a network has run, and the input."""
    _, model = model_of(name)
    network, inputs = Engine(model, *BOUNDS)._network, inputs_of(name)
    composite = resolve(kinds(model.graph), rule, {}, [], attention=attention)
    forward = forward_pass(network, inputs, [network.steps(composite, inputs.shape[1:], F64)])
    values = zip(["input", *network.wiring.names], forward.values, strict=True)
    return {name for name, value in values if value is not None}


def test_what_no_rule_reads_is_freed_in_the_forward_pass() -> None:
    found = held("residual", "epsilon_plus_flat")
    assert not found & {"input", "stem.0", "block.0"}  # flat does not read it; their ReLUs take their place
    assert {"stem.1", "block.2", "head"} <= found  # summands, and the logits


def test_what_cheap_operations_compute_is_not_kept() -> None:
    found = held("transformer", "epsilon")
    assert {"before", "add", "dense.0", "dense.3", "add_2", "head"} <= found
    assert not found & {"norm", "norm_2", "dense.1", "dense.2"}  # norms, GELU and dropout


def test_what_no_relevance_arrives_at_is_not_kept() -> None:
    def products(attention: AttentionRule) -> list[str]:
        nodes = model_of("transformer")[1].graph
        return [node.op for node in nodes if node.name in held("transformer", "epsilon", attention)]

    assert products("cp").count("matmul") == 1  # weights times values
    assert products("cp").count("softmax") == 1
    assert products("attnlrp").count("matmul") == 2  # and the scores
    assert products("attnlrp").count("softmax") == 0  # is computed again from these


# Layouts


def row_by_row(layout: Layout, rows: int) -> Tensor:
    """A value whose elements are the number of their row."""
    parts = [torch.full(layout.size(1), float(row)) for row in range(rows)]
    if layout.axis is None:
        return parts[0]
    split = [part.unflatten(layout.axis, (layout.outer, 1, layout.inner)) for part in parts]
    return torch.cat(split, layout.axis + 1).flatten(layout.axis, layout.axis + 2)


LAYOUTS = [
    Layout(torch.Size((1, 3)), 0),
    Layout(torch.Size((5, 1, 3)), 1),
    Layout(torch.Size((4, 3)), 0, 1, 4),
    Layout(torch.Size((4, 3)), 0, 4, 1),
    Layout(torch.Size((2, 6, 3)), 1, 3, 2),
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_are_found_wherever_they_lie(layout: Layout) -> None:
    value = row_by_row(layout, 4)
    elements = layout.size(1).numel()
    assert layout.rows(value) == 4
    assert layout.sums(value).tolist() == [row * elements for row in range(4)]
    assert layout.narrow(value, 1, 2).unique().tolist() == [1, 2]
    assert layout.sums(layout.select(value, [3, 0, 3])).tolist() == [3 * elements, 0, 3 * elements]
    assert layout.sums(layout.expand(layout.narrow(value, 2, 1), 5)).tolist() == [2 * elements] * 5
    by_row = layout.by_row(value)
    assert by_row.shape == (4, *layout.row_shape)
    assert by_row.flatten(1).unique(dim=1).tolist() == [[0], [1], [2], [3]]
    assert torch.equal(layout.placed(by_row), value)


def test_layouts_follow_reshapes() -> None:
    for name in NETWORKS:
        _, model = model_of(name)
        engine = Engine(model, *BOUNDS)
        network, inputs = engine._network, inputs_of(name, 3)
        marked = torch.zeros_like(inputs)
        marked[1] = inputs[1]  # only row 1 differs from zeros
        shape = inputs.shape[1:]
        values, zeros = (
            forward_pass(network, x, [], keeps_all=True).values for x in (marked, torch.zeros_like(inputs))
        )
        for value, zero, layout in zip(values, zeros, network.layouts(shape), strict=True):
            assert value is not None
            assert zero is not None
            if layout.axis is not None and layout.rows(value) == 3:
                differs = layout.sums((value - zero).abs())
                assert differs[[0, 2]].tolist() == [0, 0]
    assert not all(layout.is_simple for layout in layouts(model_of("windows")[1].graph))
