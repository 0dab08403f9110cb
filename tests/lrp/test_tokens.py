"""Networks of tokens: rows of different lengths, masks, recurrent layers and attention."""

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
import torch
from graph_interpreter import interpreted
from test_recurrent import lstm_direction, weights_of
from torch import Tensor, nn

from app.errors import UnsupportedNetworkError
from app.lrp.attribution import Attribution, Batch
from app.lrp.composites import Composite, resolve
from app.lrp.engine.engine import Engine
from app.lrp.graph.graph import from_json, to_json
from app.lrp.graph.kinds import kinds
from app.lrp.graph.symbols import most_tokens, row_shape
from app.lrp.graph.trace import trace
from app.lrp.graph.traced import TracedModel
from app.lrp.reference import Reference
from app.lrp.request import ExplanationRequest, Target
from app.lrp.rules import ATTENTION_RULES, AttentionRule

WORDS, MOST, CLASSES = 20, 24, 3
LENGTHS = (11, 7, 1)
Head = Callable[[Tensor, Tensor, Tensor], Tensor]
"""States (B, T, H), last states (directions, B, H) and the mask (B, T) -> (B, H)."""


class Recurrent(nn.Module):
    """Recurrent layers, which pack their input except in an export: (B, T) -> (B, classes)."""

    def __init__(self, kind: type[nn.LSTM | nn.GRU], head: Head, layers: int = 1, *, both: bool) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 6)
        self.cells = kind(6, 4, layers, batch_first=True, bidirectional=both, dropout=0.3 * (layers > 1))
        self.out, self.head = nn.Linear(8 if both else 4, CLASSES), head

    def forward(self, ids: Tensor) -> Tensor:
        mask, x = ids >= 0, self.words(ids.clamp(min=0))
        if torch.compiler.is_exporting():
            states, last = self.cells(x)
        else:
            packed = nn.utils.rnn.pack_padded_sequence(x, mask.sum(1), True, enforce_sorted=False)
            states, last = self.cells(packed)
            states, _ = nn.utils.rnn.pad_packed_sequence(states, True, total_length=ids.shape[1])
        h = last[0] if isinstance(last, tuple) else last
        logits: Tensor = self.out(self.head(states, h, mask))
        return logits


def last_states(_: Tensor, last: Tensor, __: Tensor) -> Tensor:
    return torch.cat((last[-2], last[-1]), 1)


def mean(states: Tensor, _: Tensor, mask: Tensor) -> Tensor:
    return (states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)


def largest(states: Tensor, _: Tensor, mask: Tensor) -> Tensor:
    return states.masked_fill(~mask.unsqueeze(-1), -torch.inf).amax(1)


class Encoder(nn.Module):
    """A transformer encoder written by hand, whose output are log-probabilities: (B, T) -> (B, classes)."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(WORDS, 8), nn.Embedding(MOST, 8)
        self.qkv, self.mixed, self.dropout = nn.Linear(8, 24), nn.Linear(8, 8), nn.Dropout(0.2)
        self.first, self.second = nn.LayerNorm(8), nn.LayerNorm(8)
        self.up, self.down, self.out = nn.Linear(8, 12), nn.Linear(12, 8), nn.Linear(8, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        (rows, count), mask = ids.shape, ids >= 0
        x = self.words(ids.clamp(min=0)) + self.positions(torch.arange(count, device=ids.device))
        q, k, v = self.qkv(x).view(rows, count, 3, 2, 4).permute(2, 0, 3, 1, 4)
        scores = (q @ k.mT / 2).masked_fill(~mask[:, None, None], -torch.inf)
        y = (self.dropout(scores.softmax(-1)) @ v).transpose(1, 2).reshape(rows, count, 8)
        x = self.first(x + self.mixed(y))
        x = self.second(x + self.down(torch.relu(self.up(x))))
        weights = mask.unsqueeze(-1).to(x.dtype)
        pooled = (x * weights).sum(1) / weights.sum(1).clamp(min=1)
        logarithms: Tensor = self.out(pooled).log_softmax(1)
        return logarithms


class TorchsEncoder(nn.Module):
    """PyTorch's encoder, which runs with the tokens in front of the batch: (B, T) -> (B, classes)."""

    def __init__(self, *, causal: bool = False) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(WORDS, 8), nn.Parameter(torch.randn(MOST, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
        self.encoder, self.out = (
            nn.TransformerEncoder(layer, 1, enable_nested_tensor=False),
            nn.Linear(8, CLASSES),
        )
        self.causal = causal

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids.clamp(min=0)) + self.positions[: ids.shape[1]]
        if self.causal:
            mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1], dtype=x.dtype)
            x = self.encoder(x, mask, is_causal=True)
        else:
            x = self.encoder(x, src_key_padding_mask=ids < 0)
        logits: Tensor = self.out(x[:, 0] if not self.causal else mean(x, x, ids >= 0))
        return logits


class Odds(nn.Module):
    """Choices by comparisons of the input, and other operations of masks: (B, T) -> (B, classes)."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.out = nn.Embedding(WORDS, 6, padding_idx=0), nn.Linear(6, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        mask = (ids != -1) & ~(ids < 0)
        positions = mask.long().cumsum(1) * mask + ids.new_zeros(ids.shape)
        known = ids.masked_fill(~mask, 0)
        x = self.words(known) + self.words(positions.clamp(max=9))
        x = torch.where((known > 9).unsqueeze(-1) | (positions == 2).unsqueeze(-1), x, 0.5 * x.abs())
        x = torch.maximum(x, torch.zeros_like(x)) - torch.minimum(x, torch.full_like(x, 0.2))
        logits: Tensor = self.out((x * mask.float().unsqueeze(-1)).sum(1) / (1 + mask.sum(1))[:, None])
        return logits


NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    "lstm mean": lambda: Recurrent(nn.LSTM, mean, both=True),
    "lstm last": lambda: Recurrent(nn.LSTM, last_states, both=True),
    "lstms max": lambda: Recurrent(nn.LSTM, largest, 2, both=True),
    "gru mean": lambda: Recurrent(nn.GRU, mean, both=False),
    "grus last": lambda: Recurrent(nn.GRU, last_states, 2, both=True),
    "encoder": Encoder,
    "torch's encoder": TorchsEncoder,
    "causal encoder": lambda: TorchsEncoder(causal=True),
    "odds": Odds,
}
each_network = pytest.mark.parametrize("name", NETWORKS)


@cache
def network(name: str) -> tuple[nn.Module, TracedModel]:
    torch.manual_seed(1)
    module = NETWORKS[name]().double().eval()
    return module, trace(module, torch.zeros(1, MOST, dtype=torch.long))


def batch() -> Tensor:
    """Rows of `LENGTHS`."""
    ids = torch.randint(WORDS, (len(LENGTHS), max(LENGTHS)), generator=torch.Generator().manual_seed(3))
    for row, length in zip(ids, LENGTHS, strict=True):
        row[length:] = -1
    return ids


def composite_of(model: TracedModel, attention: AttentionRule = "cp") -> Composite:
    return resolve(kinds(model.graph), "epsilon", {"epsilon": 1e-6}, (), attention=attention)


def start(logits: Tensor) -> Tensor:
    return torch.tensor([1.0, -0.5, 0.25]).to(logits).expand_as(logits)


def explained(model: TracedModel, ids: Tensor, attention: AttentionRule = "cp") -> Attribution:
    return Engine(model).attribute(ids, composite_of(model, attention), start)


@each_network
def test_the_graph_computes_what_the_module_does_for_any_lengths(name: str) -> None:
    module, model = network(name)
    with torch.no_grad():
        expected = module(batch()).softmax(1)
    torch.testing.assert_close(explained(model, batch()).logits.softmax(1), expected, rtol=1e-9, atol=1e-12)
    assert model.graph.input_shape == ("B", "T")
    assert to_json(from_json(to_json(model.graph))) == to_json(model.graph)
    if not {"lstm", "gru"} & {node.op for node in model.graph}:
        found = interpreted(model, batch()).softmax(1)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@each_network
@pytest.mark.parametrize("attention", ATTENTION_RULES)
def test_each_row_is_explained_as_if_alone_and_its_padding_gets_nothing(
    name: str, attention: AttentionRule
) -> None:
    _, model = network(name)
    together = explained(model, batch(), attention)
    for row, length in enumerate(LENGTHS):
        alone = explained(model, batch()[row : row + 1, :length], attention)
        assert alone.relevance.abs().sum() > 0
        torch.testing.assert_close(together.logits[row], alone.logits[0], rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(
            together.relevance[row, :length], alone.relevance[0], rtol=1e-9, atol=1e-10
        )
        assert (together.relevance[row, length:] == 0).all()


@each_network
@pytest.mark.parametrize("attention", ATTENTION_RULES)
def test_engine_and_reference_agree(name: str, attention: AttentionRule) -> None:
    _, model = network(name)
    ours = explained(model, batch(), attention)
    theirs = Reference(model).attribute(batch(), composite_of(model, attention), start)
    for found, expected in (
        (ours.logits, theirs.logits),
        (ours.relevance, theirs.relevance),
        (ours.sums, theirs.sums),
    ):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


@each_network
def test_in_float32_a_row_is_as_in_float64(name: str) -> None:
    _, model = network(name)
    halved = model.map_weights(lambda tensor: tensor.float() if tensor.is_floating_point() else tensor)
    single, double = explained(halved, batch()).relevance, explained(model, batch()).relevance
    assert single.dtype == torch.float32
    assert float((single - double).norm() / double.norm()) < 1e-4


@pytest.mark.parametrize("name", ["lstm mean", "odds"])
def test_relevance_is_linear_in_what_is_put_in(name: str) -> None:
    _, model = network(name)
    engine, composite = Engine(model), composite_of(model)

    def relevance(*weights: float) -> Tensor:
        def put_in(logits: Tensor) -> Tensor:
            return torch.tensor(weights).to(logits).expand_as(logits)

        return engine.attribute(batch(), composite, put_in).relevance

    torch.testing.assert_close(relevance(1, 0, 0) + relevance(0, 2, -1), relevance(1, 2, -1))


@pytest.mark.parametrize("name", ["lstm mean", "lstms max", "grus last"])
def test_what_does_not_reach_the_tokens_is_absorbed_by_biases_and_stabilizers(name: str) -> None:
    _, model = network(name)
    found = explained(model, batch())
    put_in = start(found.logits).sum(1)
    torch.testing.assert_close(found.input_sums + found.biases, put_in, rtol=1e-9, atol=1e-9)


def test_an_lstm_follows_the_formulas_of_arras_et_al() -> None:
    module, model = network("lstm mean")
    assert isinstance(module, Recurrent)
    found = explained(model, batch())
    for ids, length, logits, relevance in zip(batch(), LENGTHS, found.logits, found.relevance, strict=True):
        x = module.words.weight.detach()[ids[:length]].numpy()  # (T, in)
        expected = by_formulas(module, x, logits.numpy(), start(logits).numpy())
        np.testing.assert_allclose(relevance[:length].numpy(), expected, rtol=1e-9, atol=1e-12)


def by_formulas(
    module: Recurrent, x: npt.NDArray[np.float64], logits: npt.NDArray[np.float64], R: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Relevance of each word of one sequence, (T, in) -> (T,), with the mean of the states as its head."""
    cells, w = module.cells, module.out.weight.detach().numpy()
    forward, backward = weights_of(cells, "l0"), weights_of(cells, "l0_reverse")
    nothing = np.zeros((len(x), 4))
    h = np.concatenate(
        [lstm_direction(forward, x, nothing)[0], lstm_direction(backward, x[::-1], nothing)[0][::-1]], 1
    )
    pooled = h.sum(0) / len(x)
    of_pooled = pooled * (w.T @ (R / (logits + 1e-6 * np.where(logits < 0, -1, 1))))  # LRP-ε
    total = h.sum(0)
    of_states = h * of_pooled / (total + 1e-6 * np.where(total < 0, -1, 1))  # in proportion
    of_x = lstm_direction(forward, x, of_states[:, :4])[1]
    of_x += lstm_direction(backward, x[::-1], of_states[::-1, 4:])[1][::-1]
    relevance: npt.NDArray[np.float64] = of_x.sum(1)
    return relevance


def test_rules_of_the_first_layer_are_for_layers_that_read_the_input() -> None:
    _, model = network("encoder")
    rules = {
        name: rule.name for name, rule in resolve(kinds(model.graph), "epsilon_plus_flat", {}, ()).layers
    }
    assert {rules[name] for name in ("qkv", "mixed", "up", "down", "out")} == {"epsilon"}


def test_masks_are_no_layers() -> None:
    _, model = network("encoder")
    layers = {name for name, _ in kinds(model.graph)}
    assert {"words", "qkv", "matmul"} <= layers
    assert not {node.name for node in model.graph if node.op == "ge"} & layers


def test_dropout_between_recurrent_layers_is_a_node() -> None:
    ops = [node.op for node in network("lstms max")[1].graph if node.module == "cells"]
    assert ops == ["lstm", "dropout", "lstm"]


def test_the_largest_number_of_tokens_is_known() -> None:
    assert most_tokens(network("encoder")[1].graph) == MOST
    assert most_tokens(network("lstm mean")[1].graph) is None


def test_a_row_has_the_sizes_of_a_value_without_the_batch() -> None:
    assert row_shape(("B", 2, "T")) == (2, "T")
    assert row_shape(("T", "B", 8)) == ("T", 8)
    assert row_shape(("B*T", 8)) == ("T", 8)
    assert row_shape(("4*B", "T")) == (4, "T")


def test_requests_of_rows_of_one_batch_are_told_apart() -> None:
    _, model = network("lstm last")
    composite = composite_of(model)
    requests = tuple(ExplanationRequest(composite, Target(index)) for index in (2, 0))
    first, second = Engine(model).run(Batch(batch(), requests, (1, 0))).attributions
    for attribution, row in ((first, 1), (second, 0)):
        length = LENGTHS[row]
        assert (attribution.relevance[0, length:] == 0).all()
        assert (attribution.relevance[0, :length] != 0).all()


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.cells = nn.Embedding(WORDS, 6), nn.LSTM(6, 4, batch_first=True)

    def forward(self, ids: Tensor) -> Tensor:
        lengths = torch.full((ids.shape[0],), 3)
        packed = nn.utils.rnn.pack_padded_sequence(self.words(ids), lengths, True)
        state: Tensor = self.cells(packed)[1][0][-1]
        return state


class FixedLength(nn.Module):
    def forward(self, ids: Tensor) -> Tensor:
        return nn.functional.one_hot(ids.clamp(min=0), 4).reshape(-1, 5 * 4).float()


@pytest.mark.parametrize("module", [Packed(), FixedLength()], ids=lambda value: type(value).__name__)
def test_networks_that_cannot_be_explained_are_refused(module: nn.Module) -> None:
    with pytest.raises(UnsupportedNetworkError):
        trace(module, torch.zeros(1, 5, dtype=torch.long))
