"""A network of tokens in this process: rows of different lengths share a batch."""

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from app.errors import GraphError, InvalidParameterError, RefusedToStartError
from app.lrp.composites import definitions, resolve
from app.lrp.explanation import Explanation
from app.lrp.graph.trace import trace
from app.lrp.graph.traced import TracedModel
from app.lrp.graph.weights import check_weights
from app.lrp.request import ExplanationRequest, Target
from app.lrp.samples import Samples, Sampling
from app.models.card_file import card_of
from app.models.local import LocalModel
from app.models.protocol import Job
from app.models.text_card import text_card
from app.models.tokens import Lengths
from app.serving.requests import ExplainOptions, RequestFactory

CPU = torch.device("cpu")
WORDS, MOST = 30, 40
FIELDS = {
    "name": "made-up",
    "kind": "text",
    "architecture": "MadeUp",
    "classes": ("one", "other"),
    "dropout": (0.4,),
    "text": {"max_tokens": MOST},
    "files": {"weights.safetensors": "0" * 64, "tokenizer.json": "0" * 64},
}
CARD = text_card(card_of(FIELDS))


class Words(nn.Module):
    """Attention of one head over words and positions, and an LSTM: (B, T) -> (B, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(WORDS, 8), nn.Embedding(MOST, 8)
        self.qkv, self.cells, self.dropout = (
            nn.Linear(8, 24),
            nn.LSTM(8, 4, batch_first=True),
            nn.Dropout(0.4),
        )
        self.out = nn.Linear(4, 2)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids.clamp(min=0)) + self.positions(torch.arange(ids.shape[1], device=ids.device))
        q, k, v = self.qkv(x).chunk(3, -1)
        x = (q @ k.mT).masked_fill((ids < 0)[:, None], -torch.inf).softmax(-1) @ v
        logits: Tensor = self.out(self.dropout(self.cells(x)[1][0][-1]))
        return logits


@cache
def network() -> TracedModel:
    torch.manual_seed(0)
    return trace(Words().eval(), torch.zeros(1, MOST, dtype=torch.long))


@cache
def local() -> LocalModel:
    return LocalModel(network(), CARD, CPU)


def tokens(length: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(length).integers(0, WORDS, length)


def job(length: int, *layers: str | None, **options: object) -> Job:
    composite = resolve(local().description.chain, "epsilon", {}, ())
    requests = tuple(ExplanationRequest(composite, Target(0), layer) for layer in layers or (None,))
    return Job(tokens(length), requests, **options)  # type: ignore[arg-type] # fields of a job


def assert_alike(found: Explanation, expected: Explanation) -> None:
    assert found.relevance.shape == expected.relevance.shape
    size = np.linalg.norm(expected.relevance)
    assert np.linalg.norm(found.relevance - expected.relevance) <= 1e-5 * size
    assert (found.smallest, found.largest) == (found.relevance.min(), found.relevance.max())
    np.testing.assert_allclose(found.input_sum, expected.input_sum, rtol=1e-4)


def test_rows_of_different_lengths_share_a_batch_and_are_explained_as_if_alone() -> None:
    lengths = (3, 40, 17, 1)
    together = local().run([job(length) for length in lengths])
    for length, result in zip(lengths, together, strict=True):
        (alone,) = local().run([job(length)])
        np.testing.assert_allclose(result.logits, alone.logits, rtol=1e-5)
        assert result.explanations[0].relevance.shape == (length,)
        assert_alike(result.explanations[0], alone.explanations[0])


def test_maps_of_layers_are_cut_along_every_axis_of_tokens() -> None:
    (result, _) = local().run([job(5, "qkv", "softmax", "out"), job(21)])
    shapes = [explanation.relevance.shape for explanation in result.explanations]
    assert shapes == [(5, 8), (5, 5), (4,)]


def test_the_reference_verifies_a_row_of_a_batch() -> None:
    result, _ = local().run([job(5, None, "cells", verify=True), job(11)])
    assert result.verified is not None
    for ours, theirs in zip(result.explanations, result.verified, strict=True):
        assert_alike(ours, theirs)


def test_samples_of_dropout_are_verified() -> None:
    (result,) = local().run([job(5, samples=Samples(3), verify=True)])
    assert result.verified is not None
    assert result.sample_logits is not None
    assert len(np.unique(result.sample_logits, axis=0)) == 3
    assert_alike(result.explanations[0], result.verified[0])


def test_all_layers_with_weights_can_be_random() -> None:
    plain, *others = (local().run([job(5, randomized=depth), job(7)])[0].logits for depth in range(5))
    assert len({tuple(logits) for logits in (plain, *others)}) == 5
    with pytest.raises(IndexError):  # the network has four of them
        local().run([job(5, randomized=5)])


def test_few_lengths_are_compiled() -> None:
    lengths = Lengths(network().graph, 100)
    padded = [lengths.batch([tokens(length)]).shape[1] for length in (1, 8, 9, 64, 65, 97)]
    assert padded == [8, 8, 16, 64, 80, 100]


def requests() -> RequestFactory:
    described = local().description

    def resolved(rule: str, parameters: dict[str, float], layers: tuple[str, ...], _: object) -> object:
        return resolve(described.chain, rule, parameters, layers, described.composites, rules=described.rules)

    return RequestFactory(CARD, resolved, described.composites, described.rules, described.layers)  # type: ignore[arg-type]


def test_only_layers_with_values_for_each_token_can_be_drawn() -> None:
    drawable = {layer.name: layer.drawable for layer in local().description.layers}
    # (T, 8), (T, T) and (4,): the last one has as many values as a text of four tokens
    assert [drawable[name] for name in ("qkv", "softmax", "out")] == [True, True, False]
    requests().explanation(ExplainOptions(layer="qkv"))
    with pytest.raises(InvalidParameterError, match="layer: its input has no values for each token"):
        requests().explanation(ExplainOptions(layer="out"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "z_box"}, "'z_box' needs bounds of the input, which the model's does not have"),
        ({"rule": "epsilon_gamma_box"}, "'epsilon_gamma_box' needs bounds"),
        ({"layers": ("qkv:z_box",)}, "z_box needs bounds of the input"),
        ({"samples": Samples(2, Sampling.NOISE)}, "noise cannot be added to tokens; use sampling=dropout"),
    ],
)
def test_what_needs_bounds_of_the_input_is_refused_by_name(options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        requests().explanation(ExplainOptions(**options))  # type: ignore[arg-type]
    assert message in refused.value.message


def test_rules_that_need_bounds_are_not_listed() -> None:
    described = local().description
    names = [one.name for one in definitions(described.composites, described.rules)]
    assert {"epsilon", "flat", "epsilon_plus_flat"} <= {*names}
    assert not {"z_box", "epsilon_gamma_box"} & {*names}


class Unmasked(nn.Module):
    """The mean of all words, padding included."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 2)

    def forward(self, ids: Tensor) -> Tensor:
        mean: Tensor = self.words(ids.clamp(min=0)).mean(1)
        return mean


def test_a_network_whose_scores_depend_on_padding_is_refused() -> None:
    model = trace(Unmasked(), torch.zeros(1, MOST, dtype=torch.long))
    with pytest.raises(RefusedToStartError, match="scores of a text change with padding"):
        LocalModel(model, CARD, CPU)


@pytest.mark.parametrize("role", ["weight_ih", "weight_hh", "bias_ih", "bias_hh"])
def test_weights_of_a_recurrent_layer_have_the_shapes_of_its_states(role: str) -> None:
    graph, weights = network().graph, network().weights
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    check_weights(graph, shapes)
    name = graph.by_name["cells"].weights[role]
    with pytest.raises(GraphError, match=f"{name} has the shape"):
        check_weights(graph, {**shapes, name: (3, *shapes[name][1:])})


def test_a_table_of_positions_that_is_too_short_for_the_card_is_refused() -> None:
    card = text_card(card_of({**FIELDS, "text": {"max_tokens": MOST + 1}}))
    with pytest.raises(RefusedToStartError, match="takes at most 40 tokens; max_tokens of its card is 41"):
        LocalModel(network(), card, CPU)
