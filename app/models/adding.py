"""Adding a network to a folder of models: traced, stored, and compared with its module and with the reference.

A model is served only after all comparisons.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from app.errors import SourceError
from app.lrp.attribution import Batch, output_relevance
from app.lrp.composites import COMPOSITES, DEFAULT_RULE, Composite, resolve
from app.lrp.engine.engine import Engine
from app.lrp.graph.graph import Graph
from app.lrp.graph.kinds import kinds, layer_nodes
from app.lrp.graph.trace import from_program, trace
from app.lrp.graph.traced import TracedModel, in_float64
from app.lrp.overrides import as_text
from app.lrp.reference_functions import reference_name
from app.lrp.request import ExplanationRequest
from app.models.card import ModelCard, Output, valid_name
from app.models.card_file import first_line, read_card
from app.models.checkpoint import load, not_finite, save_traced
from app.models.files import CARD
from app.models.sources.names import numbered
from app.models.sources.protocol import SourceModel

if TYPE_CHECKING:
    from app.lrp.reference import Reference

SCORE_TOLERANCE = 1e-4
"""Largest ‖difference‖ / ‖scores‖ of module and graph in float32."""
RELEVANCE_TOLERANCE = 1e-6
"""Largest ‖difference‖ / ‖relevance‖ of engine and reference in float64."""

_PROBABILITIES = ("softmax", "sigmoid", "hardsigmoid")
_NOUNS: Mapping[Output, str] = {"classes": "class", "labels": "label", "value": "value"}
_MOVES = ("reshape", "permute", "slice", "select", "dropout", "identity")


@dataclass(frozen=True)
class LayerReport:
    """What one layer is taken for."""

    name: str
    operation: str
    rule: str
    """By the default composite."""
    absorbed: float
    """Share of the relevance put in at the output that it absorbs, for a random input."""


@dataclass(frozen=True)
class AddedModel:
    """A model that was added, and what was compared."""

    path: Path
    card: ModelCard
    layers: tuple[LayerReport, ...]
    score_error: float
    """‖difference‖ / ‖scores‖ of module and graph."""
    relevance_error: float
    """‖difference‖ / ‖relevance‖ of engine and reference."""
    reference: str

    @property
    def leak(self) -> float:
        """Share of the relevance put in at the output that does not reach the input."""
        return sum(layer.absorbed for layer in self.layers)


def check_name(name: str, models: Path) -> None:
    """Raise `SourceError` unless a model of this name can be added to a folder of models."""
    try:
        valid_name(name)
    except ValueError as error:
        raise SourceError(f"--name {name}: {error}") from None
    cards = [read_card(path).name for path in models.glob(f"*/{CARD}")]
    if name in cards or (models / name).exists():
        raise SourceError(
            f"--name {name}: {models} has a model of that name; choose another, or remove it first: "
            f"lrpserve remove {name}"
        )


def add(source: SourceModel, name: str, models: Path) -> AddedModel:
    """Trace a network, store it in ``models``/``name``, and compare what is stored with module and reference.

    Raises `SourceError`, or `GraphError` for a network that cannot be traced. Others see all of the new folder or
    nothing: it is written below one whose name begins with a dot, which holds no models, and then moved.
    """
    check_name(name, models)
    unfinished = models / f".{name}.{os.getpid()}"
    try:
        model, card = load(_stored(source, name, unfinished))
        added = _compared(source, model, card, models / name)
        (unfinished / name).rename(added.path)
        return added
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _stored(source: SourceModel, name: str, folder: Path) -> Path:
    """Write the model's folder into ``folder``, and return the card's path."""
    traced = _traced(source)
    fields = {
        "architecture": source.architecture,
        "classes": _classes(source, traced),
        "output": source.output,
        **source.input.card_fields,
    }
    try:
        return save_traced(traced, folder, name=name, assets=source.input.assets, **fields)
    except ValidationError as error:
        raise SourceError(first_line(error)) from None


def _traced(source: SourceModel) -> TracedModel:
    """Return the graph of the network, with weights in float32."""
    if isinstance(source.network, nn.Module):
        traced = trace(source.network.float(), source.input.example())
    else:
        traced = from_program(source.network)
    _check_output(traced.graph)
    for name in not_finite(traced):
        raise SourceError(f"{name} holds values that are not finite numbers")
    return traced.map_weights(lambda tensor: tensor.float() if tensor.is_floating_point() else tensor)


def _check_output(graph: Graph) -> None:
    """Raise `SourceError` if what the network returns are probabilities, of which softmax would be taken again.

    Softmax passes no relevance on by default: all maps would be zero.
    """
    nodes, node = graph.by_name, graph.output
    while node.op in _MOVES and node.inputs[0] in nodes:
        node = nodes[node.inputs[0]]
    if node.op in _PROBABILITIES:
        raise SourceError(
            f"the network ends in {node.op}: it returns probabilities; wrap it in a module that returns logits"
        )


def _classes(source: SourceModel, traced: TracedModel) -> tuple[str, ...]:
    """Return the names of the outputs; raises `SourceError` if there are too few outputs or other names."""
    count = traced.graph.output.shape[1]
    assert isinstance(count, int)
    if count < 2 and source.output == "classes":
        raise SourceError(
            f"the network has {count} output; it must have one for each of at least two classes"
        )
    classes = source.classes or numbered(_NOUNS[source.output], count)
    if len(classes) != count:
        raise SourceError(f"--classes: {len(classes)} names, but the network has {count} {source.output}")
    return classes


def _compared(source: SourceModel, model: TracedModel, card: ModelCard, path: Path) -> AddedModel:
    """Return the report of a stored model; raises `SourceError` if it computes something else than the source."""
    bounds = source.input.bounds
    batches = source.input.random_batches()
    engine = Engine(model, *bounds)
    score_error = max(_compare_scores(source, engine, batch) for batch in batches)
    exact, bounds = model.map_weights(in_float64), tuple(map(in_float64, bounds))
    composite = resolve(kinds(model.graph), DEFAULT_RULE, {}, (), COMPOSITES)
    engine = Engine(exact, *bounds)
    explained = in_float64(batches[-1])
    alone = source.input.alone(explained)
    relevance_error = _compare_relevance(engine, exact, bounds, explained, alone, composite)
    shares = engine.absorbed(alone[0], composite, output_relevance([ExplanationRequest(composite)]))
    layers = tuple(
        LayerReport(node.name, node.op, as_text(rule), shares[node.name])
        for node, (_, rule) in zip(layer_nodes(model.graph), composite.layers, strict=True)
    )
    return AddedModel(path, card, layers, score_error, relevance_error, reference_name(model.graph))


def _compare_scores(source: SourceModel, engine: Engine, batch: Tensor) -> float:
    """Return the difference of the scores of a batch to those of the network for its inputs without padding."""
    network = source.network
    module = network if isinstance(network, nn.Module) else network.module(check_guards=False)
    with torch.inference_mode():
        own = torch.cat([module(inputs) for inputs in source.input.alone(batch)])  # (ROWS, classes)
    scores = engine.run(Batch(batch, (), ())).logits
    error = _difference(scores, own)
    if not torch.isfinite(own).all():
        raise SourceError("the network's scores for a random input are not finite numbers")
    if not error <= SCORE_TOLERANCE:
        raise SourceError(
            f"the graph's scores differ from the network's own by {error:.1e} of their norm, more than "
            f"{SCORE_TOLERANCE:.0e}: this is a defect of LRPServe, or the network draws random numbers"
        )
    return error


def _compare_relevance(
    engine: Engine,
    model: TracedModel,
    bounds: Sequence[Tensor],
    batch: Tensor,
    alone: Sequence[Tensor],
    composite: Composite,
) -> float:
    """Return the difference of the relevance of a batch to that of its inputs without padding."""
    from app.lrp.reference import Reference  # importing Zennit takes seconds

    found, reference = _relevance(engine, batch, composite), Reference(model, *bounds)  # (ROWS, …)
    rows = (_relevance(reference, inputs, composite) for inputs in alone)
    expected = torch.cat([F.pad(R, (0, found.shape[-1] - R.shape[-1])) for R in rows])  # none of padding
    error = _difference(found, expected)
    if not error <= RELEVANCE_TOLERANCE:
        raise SourceError(
            f"the relevance of the engine differs from that of the reference by {error:.1e} of its norm, more "
            f"than {RELEVANCE_TOLERANCE:.0e}: this is a defect of LRPServe"
        )
    return error


def _relevance(explainer: "Engine | Reference", inputs: Tensor, composite: Composite) -> Tensor:
    """Return the relevance of inputs, each for its predicted class."""
    requests = [ExplanationRequest(composite)] * len(inputs)
    return explainer.attribute(inputs, composite, output_relevance(requests)).relevance


def _difference(found: Tensor, expected: Tensor) -> float:
    """Return ‖found − expected‖ / ‖expected‖, 0 where both are zero."""
    scale = float(expected.norm())
    return float((found - expected).norm()) / (scale or 1.0)
