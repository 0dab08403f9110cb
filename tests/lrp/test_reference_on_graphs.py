"""The reference on networks that are no chains: against Zennit's own use, formulas and identities."""

import copy
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VGG, get_model
from tracing import traced
from zennit import composites as zennit_composites
from zennit import rules as zennit_rules
from zennit.attribution import Gradient
from zennit.canonizers import Canonizer, SequentialMergeBatchNorm
from zennit.layer import Sum
from zennit.torchvision import ResNetCanonizer

from app.errors import GraphError, InvalidParameterError
from app.lrp.attribution import Attribution
from app.lrp.composites import COMPOSITES, Composite, resolve
from app.lrp.engine.engine import Engine
from app.lrp.graph.graph import INPUT, Graph, Node
from app.lrp.graph.kinds import kinds
from app.lrp.graph.traced import TracedModel
from app.lrp.reference import Reference
from app.lrp.rules import ATTENTION_RULES, ATTNLRP, CP, RULES, AttentionRule

F64 = torch.float64
LOW, HIGH = -2.0, 2.5


def random_start(logits: Tensor) -> Tensor:
    """Relevance of either sign at every class."""
    return torch.randn(logits.shape, generator=torch.Generator().manual_seed(2)).to(logits)


def inputs(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, dtype=F64, generator=torch.Generator().manual_seed(seed)).clamp(LOW, HIGH)


def attribute(
    model: TracedModel, x: Tensor, rule: str, layer: str | None = None, attention: AttentionRule = "cp"
) -> Attribution:
    composite = resolve(kinds(model.graph), rule, {}, (), attention=attention)
    return reference_of(model).attribute(x, composite, random_start, layer)


def reference_of(model: TracedModel) -> Reference:
    return Reference(model, torch.tensor(LOW), torch.tensor(HIGH))


def distance(R: Tensor, expected: Tensor) -> float:
    """‖R − R_ref‖ / ‖R_ref‖."""
    assert R.shape == expected.shape
    return float((R - expected).norm() / expected.norm())


# Against Zennit's own use, with its canonizers

ZENNIT: Mapping[str, Callable[..., zennit_composites.Composite]] = {
    "epsilon_plus_flat": zennit_composites.EpsilonPlusFlat,
    "epsilon_plus": zennit_composites.EpsilonPlus,
    "epsilon_gamma_box": lambda **others: zennit_composites.EpsilonGammaBox(
        torch.tensor(LOW), torch.tensor(HIGH), **others
    ),
    "epsilon_alpha2_beta1": zennit_composites.EpsilonAlpha2Beta1,
    "epsilon_alpha2_beta1_flat": zennit_composites.EpsilonAlpha2Beta1Flat,
    "epsilon": lambda **others: on_all_weighted_layers(zennit_rules.Epsilon(), **others),
    "gamma": lambda **others: on_all_weighted_layers(zennit_rules.Gamma(), **others),
}
assert set(COMPOSITES) <= set(ZENNIT)


def on_all_weighted_layers(
    hook: zennit_rules.Hook, *, canonizers: list[Canonizer]
) -> zennit_composites.Composite:
    layer_map = [
        *zennit_composites.layer_map_base(),
        ((nn.Conv1d, nn.Conv2d, nn.Linear), hook),
    ]
    return zennit_composites.LayerMapComposite(layer_map, canonizers=canonizers)


def zennits(model: nn.Module, x: Tensor, composite: zennit_composites.Composite) -> Tensor:
    model = copy.deepcopy(model).eval()
    for layer in model.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    with Gradient(model=model, composite=composite) as attributor:
        _, relevance = attributor(x.clone().requires_grad_(), random_start)
    assert isinstance(relevance, Tensor)
    return relevance


class Block(nn.Module):
    """Residual sum, concatenation and mean, written with modules for Zennit."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.left = nn.Conv2d(4, 4, 3, padding=1)
        self.right = nn.Conv2d(4, 3, 1)
        self.relu = nn.ReLU()
        self.sum = Sum()
        self.gelu = nn.GELU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(7, 5)

    def forward(self, x: Tensor) -> Tensor:
        stem = self.relu(self.stem(x))
        total = self.sum(torch.stack([stem, self.left(stem)], -1))
        both = torch.cat([self.gelu(total), self.right(stem)], 1)
        logits: Tensor = self.head(self.pool(both).flatten(1))
        return logits


class TracedBlock(Block):
    """The same network, written as networks are."""

    def forward(self, x: Tensor) -> Tensor:
        stem = self.relu(self.stem(x))
        both = torch.cat([self.gelu(stem + self.left(stem)), self.right(stem)], 1)
        logits: Tensor = self.head(both.mean([2, 3]))
        return logits


@pytest.fixture(scope="module")
def block() -> TracedBlock:
    torch.manual_seed(0)
    return TracedBlock().to(F64).eval()


@pytest.mark.parametrize("rule", ZENNIT)
def test_residual_sums_and_concatenations_are_zennits(block: TracedBlock, rule: str) -> None:
    as_modules = Block().to(F64)
    as_modules.load_state_dict(block.state_dict())
    x = inputs(3, 2, 6, 6)
    expected = zennits(as_modules, x, ZENNIT[rule](canonizers=[]))
    assert distance(attribute(traced(block, 2, 6, 6), x, rule).relevance, expected) < 1e-12


def randomised(model: nn.Module) -> nn.Module:
    """Return ``model`` in float64 with random statistics and parameters in its batch norms.

    What Zennit's canonizers leave of a merged batch norm divides by the root of 1 + eps.
    """
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            nn.init.normal_(layer.running_mean, std=0.1)
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.1)
            layer.eps = 0.0
    return model.to(F64).eval()


SIDE = 32
CANONIZERS: Mapping[str, type[Canonizer]] = {
    "resnet18": ResNetCanonizer,
    "vgg11_bn": SequentialMergeBatchNorm,
}


@pytest.fixture(scope="module", params=CANONIZERS)
def network(request: pytest.FixtureRequest) -> tuple[str, nn.Module, TracedModel]:
    """A network of torchvision for ten classes; of VGG the convolutions, its dense layers have a gigabyte."""
    torch.manual_seed(0)
    model = get_model(request.param, num_classes=10)
    if isinstance(model, VGG):
        model.avgpool = nn.AdaptiveAvgPool2d(1)
        model.classifier = nn.Sequential(
            nn.Linear(512, 32), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(32, 10)
        )
    randomised(model)
    return request.param, model, traced(model, 3, SIDE, SIDE)


@pytest.mark.parametrize("rule", COMPOSITES)
def test_torchvisions_networks_are_explained_as_zennit_does_it(
    network: tuple[str, nn.Module, TracedModel], rule: str
) -> None:
    name, model, graph = network
    x = inputs(2, 3, SIDE, SIDE)
    expected = zennits(model, x, ZENNIT[rule](canonizers=[CANONIZERS[name]()]))
    explanation = attribute(graph, x, rule)
    torch.testing.assert_close(explanation.logits, model(x).detach(), rtol=1e-10, atol=1e-10)
    assert distance(explanation.relevance, expected) < 1e-8


# Against formulas written out


def stabilized(z: Tensor) -> Tensor:
    return z + 1e-6 * torch.where(z < 0, -1.0, 1.0)


def graph_of(*nodes: Node, **weights: Tensor) -> TracedModel:
    """Return a network of inputs (B, 4)."""
    return TracedModel(Graph(("B", 4), nodes), weights)


def relevance_of_sum(op: str, a: Tensor, b: Tensor, R: Tensor) -> tuple[Tensor, Tensor]:
    b = -b if op == "sub" else b
    ratio = R / stabilized(a + b)
    return a * ratio, b * ratio


@pytest.mark.parametrize("op", ["add", "sub"])
def test_terms_of_a_sum_get_relevance_in_proportion(op: str) -> None:
    model = graph_of(
        Node("double", "add", (INPUT, INPUT), ("B", 4)),
        Node("sum", op, ("double", INPUT), ("B", 4)),
    )
    x = inputs(3, 4)
    explanation = attribute(model, x, "epsilon")
    R = explanation.output_relevance
    a, b = relevance_of_sum(op, 2 * x, x, R)
    torch.testing.assert_close(explanation.logits, 3 * x if op == "add" else x)
    torch.testing.assert_close(explanation.relevance, 2 * x * a / stabilized(2 * x) + b)
    torch.testing.assert_close(attribute(model, x, "epsilon", "sum").relevance, a)
    torch.testing.assert_close(
        explanation.sums, torch.stack([a.sum(1), (a + b).sum(1)], 1), rtol=1e-5, atol=0
    )


def test_what_is_added_to_a_constant_keeps_its_share_only() -> None:
    constant = inputs(1, 4, seed=3)
    model = graph_of(
        Node("bias", "constant", (), (1, 4), {}, {"value": "bias"}),
        Node("sum", "add", ("bias", INPUT), ("B", 4)),
        bias=constant,
    )
    x = inputs(3, 4)
    explanation = attribute(model, x, "epsilon")
    share, _ = relevance_of_sum("add", x, constant, explanation.output_relevance)
    torch.testing.assert_close(explanation.relevance, share)
    assert explanation.layers == ("sum",)
    torch.testing.assert_close(attribute(model, x, "epsilon", "sum").relevance, share)


@pytest.mark.parametrize(("gate", "shares"), [(0, (0.0, 1.0)), (1, (1.0, 0.0)), (None, (0.5, 0.5))])
def test_a_gate_gets_no_relevance_and_two_signals_half_each(
    gate: int | None, shares: tuple[float, float]
) -> None:
    attributes = {} if gate is None else {"gate": gate}
    model = graph_of(
        Node("one", "linear", (INPUT,), ("B", 4), {}, {"weight": "w"}),
        Node("other", "linear", (INPUT,), ("B", 4), {}, {"weight": "v"}),
        Node("product", "mul", ("one", "other"), ("B", 4), attributes),
        w=inputs(4, 4, seed=3),
        v=inputs(4, 4, seed=4),
    )
    explanation = attribute(model, inputs(3, 4), "epsilon")
    R = explanation.output_relevance
    product = attribute(model, inputs(3, 4), "epsilon", "product").relevance
    torch.testing.assert_close(product, shares[0] * R)
    torch.testing.assert_close(explanation.sums[:, 2], R.sum(1))
    torch.testing.assert_close(explanation.sums[:, :2].sum(1), R.sum(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("op", ["mul", "div"])
def test_a_constant_factor_and_a_divisor_get_no_relevance(op: str) -> None:
    model = graph_of(
        Node("scale", "constant", (), (4,), {}, {"value": "scale"}),
        Node("scaled", op, (INPUT, "scale"), ("B", 4)),
        scale=inputs(4, seed=3),
    )
    explanation = attribute(model, inputs(3, 4), "epsilon")
    torch.testing.assert_close(explanation.relevance, explanation.output_relevance)


def test_relevance_of_a_gated_signal_that_is_broadcast_is_summed() -> None:
    model = graph_of(
        Node("row", "mean", (INPUT,), ("B", 1), {"axes": [1], "keepdim": True}),
        Node("gated", "mul", ("row", INPUT), ("B", 4), {"gate": 1}),
    )
    explanation = attribute(model, inputs(3, 4), "epsilon", "gated")
    expected = explanation.output_relevance.sum(1, keepdim=True)
    torch.testing.assert_close(explanation.relevance, expected)


class Attention(nn.Module):
    """(B, 4, 6) -> (B, 3)"""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(6, 6, bias=False) for _ in range(3))
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        mixed = nn.functional.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x))
        logits: Tensor = self.head(self.norm(mixed).mean(1))
        return logits


def epsilon_rule(x: Tensor, w: Tensor, R: Tensor) -> Tensor:
    return x * ((R / stabilized(x @ w.T)) @ w)


def centring_rule(x: Tensor, z: Tensor, R: Tensor, eps: float, weight: Tensor | float = 1) -> Tensor:
    """The LN-rule of Ali et al. 2022 as a matrix: z = weight * (I - 1/N) x / σ + shift, with a constant σ."""
    count = x.shape[-1]
    sigma = (x.var(-1, unbiased=False, keepdim=True) + eps).sqrt()
    matrix = torch.eye(count, dtype=x.dtype) - 1 / count
    return x * ((weight * R / stabilized(z) / sigma) @ matrix)


def attention_by_hand(model: Attention, x: Tensor, R: Tensor, rule: str) -> Tensor:
    """LRP of `Attention` with ε of 1e-6, in the formulas of the papers."""
    q, k, v = (layer(x) for layer in (model.q, model.k, model.v))
    scale = 6**-0.5
    scores = scale * q @ k.mT
    weights = scores.softmax(-1)
    mixed = weights @ v
    normed = model.norm(mixed)
    mean = normed.mean(1)
    R = epsilon_rule(mean, model.head.weight, R)
    R = normed / 4 * (R / stabilized(mean))[:, None]  # under attnlrp also that of the norm's input
    if rule == "cp":
        R = centring_rule(mixed, normed, R, model.norm.eps)
        return epsilon_rule(x, model.v.weight, v * (weights.mT @ (R / stabilized(mixed))))
    ratio = R / stabilized(2 * mixed)
    of_weights, of_v = weights * (ratio @ v.mT), v * (weights.mT @ ratio)
    of_scores = scores * (of_weights - weights * of_weights.sum(-1, keepdim=True))
    unscaled = scores / scale
    ratio = of_scores / stabilized(2 * unscaled)
    of_q, of_k = q * (ratio @ k), k * (ratio.mT @ q)
    parts = ((model.q, of_q), (model.k, of_k), (model.v, of_v))
    return sum((epsilon_rule(x, layer.weight, R) for layer, R in parts), start=torch.zeros_like(x))


@pytest.mark.parametrize("attention", ATTENTION_RULES)
def test_attention_follows_the_formulas_of_its_rule(attention: AttentionRule) -> None:
    torch.manual_seed(0)
    model = Attention().to(F64)
    x = inputs(2, 4, 6)
    explanation = attribute(traced(model, 4, 6), x, "epsilon", attention=attention)
    with torch.no_grad():
        expected = attention_by_hand(model, x, explanation.output_relevance, attention)
    assert distance(explanation.relevance, expected) < 1e-4  # the scale, before or after the product, moves ε


def test_the_relevance_of_a_word_is_the_sum_over_its_dimensions() -> None:
    vectors = inputs(7, 3)
    model = graph_of(
        Node("words", "embedding", (INPUT,), ("B", 4, 3), {}, {"weight": "vectors"}),
        Node("mean", "mean", ("words",), ("B", 3), {"axes": [1], "keepdim": False}),
        vectors=vectors,
    )
    words = torch.tensor([[0, 6, 2, 2], [5, 1, 0, 3]])
    explanation = attribute(model, words, "epsilon")
    means = vectors[words].mean(1, keepdim=True)
    parts = vectors[words] / 4 * explanation.output_relevance[:, None] / stabilized(means)
    torch.testing.assert_close(explanation.relevance, parts.sum(2))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(
    ("kind", "attention"),
    [(nn.GroupNorm, ATTNLRP), (nn.LayerNorm, ATTNLRP), (nn.RMSNorm, ATTNLRP), (nn.RMSNorm, CP)],
)
def test_relevance_passes_norms_of_each_input(
    kind: Callable[..., nn.Module], attention: AttentionRule, *, affine: bool
) -> None:
    norm = nn.GroupNorm(2, 4, affine=affine) if kind is nn.GroupNorm else kind(6, elementwise_affine=affine)
    model = traced(nn.Sequential(nn.Conv1d(3, 4, 1, bias=False), norm, nn.Flatten()).double(), 3, 6)
    composite = resolve(kinds(model.graph), "zero", {}, (), attention=attention)
    at_conv = Reference(model, torch.tensor(LOW), torch.tensor(HIGH)).attribute(
        inputs(2, 3, 6), composite, random_start, model.graph.nodes[1].name
    )
    torch.testing.assert_close(at_conv.relevance.flatten(1), at_conv.output_relevance)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_deviation_of_a_norm_is_a_constant_under_cp(groups: int) -> None:
    norm = nn.GroupNorm(groups, 4)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    model = traced(nn.Sequential(nn.Conv1d(3, 4, 1, bias=False), norm, nn.Flatten()).double(), 3, 6)
    composite = resolve(kinds(model.graph), "zero", {}, ())
    reference = Reference(model, torch.tensor(LOW), torch.tensor(HIGH))
    x = inputs(2, 3, 6)
    found = reference.attribute(x, composite, random_start, model.graph.nodes[1].name)
    with torch.no_grad():
        weights = model.weights[model.graph.nodes[0].weights["weight"]]  # (4, 3, 1)
        mixed = torch.einsum("oi,bit->bot", weights[..., 0], x)
        z, R = norm(mixed), found.output_relevance.view(2, 4, 6)
        weight = norm.weight.view(1, 4, 1).expand_as(z)
        parts = (values.reshape(2, groups, -1) for values in (mixed, z, R, weight))
        a, b, c, w = parts
        expected = centring_rule(a, b, c, norm.eps, w)
    torch.testing.assert_close(found.relevance, expected.view(2, 4, 6), rtol=1e-5, atol=1e-9)


class Steps(nn.Module):
    """Two recurrent layers in both directions: (B, 5, 3) -> (B, 8)."""

    def __init__(self, kind: type[nn.LSTM | nn.GRU], *, batch_first: bool) -> None:
        super().__init__()
        self.cells = kind(3, 4, 2, batch_first=batch_first, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        if self.cells.batch_first:
            output: Tensor = self.cells(x)[0].mean(1)
        else:
            output = self.cells(x.transpose(0, 1))[0].mean(0)
        return output


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("batch_first", [True, False])
def test_engine_and_reference_agree_on_sequences(kind: type[nn.LSTM | nn.GRU], *, batch_first: bool) -> None:
    torch.manual_seed(0)
    module = Steps(kind, batch_first=batch_first).to(F64)
    model, x = traced(module, 5, 3), inputs(2, 5, 3)
    composite = resolve(kinds(model.graph), "epsilon", {}, ())
    ours, theirs = (
        engine.attribute(x, composite, random_start) for engine in (Engine(model), Reference(model))
    )
    torch.testing.assert_close(theirs.logits, module(x).detach())
    torch.testing.assert_close(theirs.relevance, ours.relevance)


# Identities


class Everything(nn.Module):
    """All ways through which sums are conserved, without biases: (B, 2, 8, 8) -> (B, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 8, 3, padding=1, bias=False)
        self.branch = nn.Conv2d(8, 8, 3, padding=1, groups=4, bias=False)
        self.squeeze = nn.Conv2d(8, 8, 1, bias=False)
        self.qkv = nn.Linear(16, 48, bias=False)
        self.head = nn.Linear(16, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        y = nn.functional.silu(self.branch(x))
        y = y * self.squeeze(y.mean((2, 3), keepdim=True)).sigmoid()
        y = torch.cat([x - y, nn.functional.max_pool2d(x, 3, 1, 1)], 1)  # (B, 16, 8, 8)
        tokens = nn.functional.avg_pool2d(y, 2).flatten(2).mT  # (B, 16, 16)
        q, k, v = (part.transpose(1, 2) for part in self.qkv(tokens).unflatten(2, (6, 8)).split(2, 2))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        logits: Tensor = self.head((tokens + mixed).mean(1))
        return logits


@pytest.fixture(scope="module")
def everything() -> TracedModel:
    torch.manual_seed(0)
    return traced(Everything().to(F64), 2, 8, 8)


def with_epsilon(model: TracedModel, epsilon: float) -> Composite:
    return resolve(kinds(model.graph), "epsilon", {"epsilon": epsilon}, ())


def test_all_relevance_arrives_where_nothing_has_a_bias(everything: TracedModel) -> None:
    x, composite = inputs(3, 2, 8, 8), with_epsilon(everything, 1e-12)
    explanation = reference_of(everything).attribute(x, composite, lambda logits: logits)
    arrived, put_in = explanation.relevance.flatten(1).sum(1), explanation.output_relevance.sum(1)
    torch.testing.assert_close(arrived, put_in, rtol=1e-2, atol=0)  # ε of sums and products is 1e-6


@pytest.mark.parametrize("attention", ATTENTION_RULES)
def test_each_row_of_a_batch_is_explained_as_if_alone(
    everything: TracedModel, attention: AttentionRule
) -> None:
    x = inputs(3, 2, 8, 8)
    composite = resolve(kinds(everything.graph), "epsilon_plus", {}, (), attention=attention)
    reference = reference_of(everything)
    start = random_start(torch.zeros(3, 4, dtype=F64))
    layers = reference.attribute(x, composite, lambda _: start).layers
    for layer in (None, *layers[5::5]):
        together = reference.attribute(x, composite, lambda _: start, layer)
        alone = reference.attribute(x[1:2], composite, lambda _: start[1:2], layer)
        torch.testing.assert_close(together.relevance[1], alone.relevance[0], rtol=1e-8, atol=1e-12)
        torch.testing.assert_close(together.sums[1], alone.sums[0], rtol=1e-8, atol=1e-12)


def test_a_batch_that_is_not_the_first_axis_is_explained_row_by_row() -> None:
    model = graph_of(
        Node("turned", "permute", (INPUT,), (4, "B"), {"axes": [1, 0]}),
        Node("joined", "reshape", ("turned",), ("4*B",), {"shape": ["4*B"]}),
        Node("apart", "reshape", ("joined",), (4, "B"), {"shape": [4, "B"]}),
        Node("back", "permute", ("apart",), ("B", 4), {"axes": [1, 0]}),
    )
    for layer in (None, "turned", "joined", "apart", "back"):
        explanation = attribute(model, inputs(3, 4), "epsilon", layer)
        torch.testing.assert_close(explanation.relevance, explanation.output_relevance)
        torch.testing.assert_close(
            explanation.sums, explanation.output_relevance.sum(1)[:, None].expand(3, 4)
        )


# What is returned


def test_the_name_says_whether_all_rules_are_zennits(block: TracedBlock, everything: TracedModel) -> None:
    assert reference_of(traced(block, 2, 6, 6)).name.startswith("zennit ")
    assert not reference_of(traced(block, 2, 6, 6)).name.endswith("autograd")
    assert reference_of(everything).name.endswith(" + autograd")


def test_own_rules_are_computed_in_float64(everything: TracedModel) -> None:
    halved = everything.map_weights(Tensor.float)
    explanation = attribute(halved, inputs(2, 2, 8, 8).float(), "epsilon")
    assert explanation.relevance.dtype == explanation.logits.dtype == F64


def test_an_unknown_layer_is_refused_by_name(everything: TracedModel) -> None:
    with pytest.raises(InvalidParameterError, match="no layer 'conv'; there are stem, "):
        attribute(everything, inputs(1, 2, 8, 8), "epsilon", "conv")


def test_an_operation_that_it_cannot_explain_is_named() -> None:
    with pytest.raises(GraphError, match="node 'power': the reference cannot explain 'sine'"):
        reference_of(graph_of(Node("power", "sine", (INPUT,), ("B", 4))))


def test_callers_weights_are_never_changed(everything: TracedModel) -> None:
    before = {name: tensor.clone() for name, tensor in everything.weights.items()}
    for rule in (*RULES, *COMPOSITES):
        attribute(everything, inputs(1, 2, 8, 8), rule)
    assert all(torch.equal(tensor, everything.weights[name]) for name, tensor in before.items())
