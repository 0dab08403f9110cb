"""A network on a device of this process, with its engine and its reference."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from app.errors import GraphError, InvalidParameterError, RefusedToStartError
from app.lrp.attribution import Attribution, Batch, SampledAttribution, SampledAttributions, extremes
from app.lrp.composites import resolve
from app.lrp.engine.cuda_graphs import CudaRecorder, Recorder
from app.lrp.explanation import Explanation
from app.lrp.graph.baseline import with_baseline
from app.lrp.graph.graph import Node
from app.lrp.graph.kinds import kinds, layer_nodes
from app.lrp.graph.symbols import most_tokens
from app.lrp.graph.traced import TracedModel
from app.lrp.reference_functions import reference_name
from app.lrp.samples import Samples, Statistic
from app.lrp.statistics import statistic_of, statistics
from app.lrp.transfer import to_device
from app.modalities.text.spec import PADDING
from app.models.bounds import bounds_of
from app.models.card import GRAPH, ModelCard
from app.models.checkpoint import load, load_assets
from app.models.device import PRODUCTS, check_precision, compute_in_float32, pick_device
from app.models.explainer import BaselineExplainer, Explainer
from app.models.protocol import Description, Job, JobResult, LayerDescription, ModelLostError, NoMemoryError
from app.models.table_card import TableCard
from app.models.text_card import TextCard
from app.models.tokens import Lengths, vocabulary_size
from app.settings import Precision, variable
from app.system import available_cores, keep_freed_memory

BASELINES_CACHED = 8
"""Baselines whose engines are kept: the training mean, zero, and some that clients give."""

PADDING_TOLERANCE = 1e-3
"""Difference of the scores of a text with and without padding, as a share of their norm, that is rounding."""


class LocalModel:
    """A network that runs in this process, on the calling thread; an `app.models.protocol.Model`."""

    def __init__(
        self,
        model: TracedModel,
        card: ModelCard,
        device: torch.device,
        assets: Mapping[str, str] = MappingProxyType({}),
        precision: Precision = "float32",
        recorder: Recorder | None = None,
    ) -> None:
        """``assets`` and ``precision``: as in `Description`; ``recorder``: as in `Explainer`.

        Raises `RefusedToStartError` for a graph that does not run, or does not fit the card.
        """
        self._model = model.map_weights(lambda tensor: tensor.to(device))
        self._device = device
        bounds = bounds_of(card)
        self._bounds = None if bounds is None else (bounds[0].to(device), bounds[1].to(device))
        self._lengths = Lengths(model.graph, card.text.max_tokens) if isinstance(card, TextCard) else None
        self._products = PRODUCTS[precision]
        self._recorder = recorder
        self._explainer = Explainer(self._model, self._bounds, self._products, recorder)
        self._relative_to = lru_cache(BASELINES_CACHED)(self._compiled_relative_to)
        self._check_runs(card)
        if isinstance(card, TableCard):
            self._check_baselines(card)
        self.description = Description(
            card,
            str(device),
            self._explainer.engine.name,
            reference_name(model.graph),
            kinds(model.graph),
            tuple(map(self._described, layer_nodes(model.graph))),
            dict(assets),
            precision,
        )
        self._check_tuned()

    @classmethod
    def load(
        cls,
        card_path: Path,
        device: str,
        cores: int | None,
        precision: Precision = "float32",
        *,
        cuda_graphs: bool = False,
    ) -> "LocalModel":
        """Load the network of a card onto ``device``; ``cores`` to compute with default to all available ones.

        Raises `RefusedToStartError`.
        """
        found = pick_device(device)
        check_precision(precision, found)
        recorder = _recorder(found) if cuda_graphs else None
        compute_in_float32()
        keep_freed_memory()
        torch.set_num_threads(cores or available_cores())
        model, card = load(card_path)
        return cls(model, card, found, load_assets(card_path), precision, recorder)

    def run(self, jobs: Sequence[Job]) -> list[JobResult]:
        """See `app.models.protocol.Model`."""
        try:
            return self._run(jobs)
        except torch.AcceleratorError as error:
            raise ModelLostError(str(error)) from error
        except Exception as error:
            if _is_out_of_memory(error):
                raise NoMemoryError from error
            raise

    def prepare_reference(self) -> None:
        """See `app.models.protocol.Model`."""
        _ = self._explainer.reference

    def watch(self, on_loss: Callable[[ModelLostError], None]) -> None:
        """See `app.models.protocol.Model`; a network in this process is not lost between jobs."""

    def kill(self) -> None:
        """See `app.models.protocol.Model`; has no effect, since there is no process to end."""

    def _run(self, jobs: Sequence[Job]) -> list[JobResult]:
        """Return one result for each job; those with the same baseline and random layers run as one batch."""
        results = {
            index: self._sampled(job, job.samples)
            for index, job in enumerate(jobs)
            if job.samples is not None
        }
        plain = {index: job for index, job in enumerate(jobs) if job.samples is None}
        keys = {index: (_bytes(job.baseline), job.randomized) for index, job in plain.items()}
        for key in dict.fromkeys(keys.values()):
            alike = {index: job for index, job in plain.items() if keys[index] == key}
            results |= zip(alike, self._explained(list(alike.values())), strict=True)
        return [results[index] for index in range(len(jobs))]

    def _explained(self, jobs: Sequence[Job]) -> list[JobResult]:
        """Run one batch of jobs that have the same baseline and the same number of random layers."""
        explainer = self._explainer_for(jobs[0])
        result = explainer.run(self._batch(jobs, explainer), jobs[0].randomized)
        attributions = iter(result.attributions)
        return [
            JobResult(
                logits,
                self._explanations(job, [next(attributions) for _ in job.requests]),
                self._verified(job, explainer) if job.verify else None,
                baseline_logits=explainer.baseline_logits,
            )
            for job, logits in zip(jobs, result.logits.tolist(), strict=True)
        ]

    def _sampled(self, job: Job, samples: Samples) -> JobResult:
        explainer = self._explainer_for(job)
        inputs = self._batch([job], explainer).inputs  # (1, …)
        result = explainer.engine.sample(inputs, job.requests, samples, job.max_rows)
        verified = None
        if job.verify:
            again = explainer.reference.sample(inputs, job.requests, samples, job.max_rows)
            verified = self._statistics(job, again, samples.statistic)
        return JobResult(
            result.logits.tolist(),
            self._statistics(job, result, samples.statistic),
            verified,
            result.sample_logits.float().numpy(),  # (samples, classes)
            explainer.baseline_logits,
        )

    def _verified(self, job: Job, explainer: Explainer) -> tuple[Explanation, ...]:
        result = explainer.reference.run(self._batch([job], explainer))
        return self._explanations(job, result.attributions)

    def _batch(self, jobs: Sequence[Job], explainer: Explainer) -> Batch:
        rows_of_inputs = [job.input for job in jobs]
        stacked = np.stack(rows_of_inputs) if self._lengths is None else self._lengths.batch(rows_of_inputs)
        inputs = to_device(torch.from_numpy(stacked), self._device)  # (B, …)
        requests = tuple(request for job in jobs for request in job.requests)
        rows = tuple(row for row, job in enumerate(jobs) for _ in job.requests)
        return Batch(explainer.inputs(inputs), requests, rows)

    def _explanations(self, job: Job, attributions: Sequence[Attribution]) -> tuple[Explanation, ...]:
        """Return the explanations that a job requests."""
        if self._lengths is not None:
            pairs = zip(attributions, job.requests, strict=True)
            maps = [self._lengths.cut(one.relevance, request.layer, len(job.input)) for one, request in pairs]
            attributions = [
                replace(one, relevance=relevance, extremes=extremes(relevance))
                for one, relevance in zip(attributions, maps, strict=True)
            ]
        return tuple(map(_explanation, attributions))

    def _statistics(
        self, job: Job, result: SampledAttributions, statistic: Statistic
    ) -> tuple[Explanation, ...]:
        """Return a statistic of the samples of each explanation that a job requests."""
        attributions = result.attributions
        if self._lengths is not None:
            pairs = zip(attributions, job.requests, strict=True)
            attributions = tuple(
                replace(one, relevance=self._lengths.cut(one.relevance, request.layer, len(job.input)))
                for one, request in pairs
            )
        return tuple(_statistic(one, statistic) for one in attributions)

    def _explainer_for(self, job: Job) -> Explainer:
        key = _bytes(job.baseline)
        return self._explainer if key is None else self._relative_to(key)

    def _compiled_relative_to(self, key: bytes) -> BaselineExplainer:
        assert self._bounds is not None, "only rows of tables have baselines"
        baseline = torch.from_numpy(np.frombuffer(key, np.float32).copy()).to(self._device)
        return BaselineExplainer(self._model, self._bounds, self._products, baseline, self._recorder)

    def _check_runs(self, card: ModelCard) -> None:
        """Raise `RefusedToStartError` if the graph cannot be run for an input of the card's size."""
        try:
            logits = self._logits(torch.from_numpy(card.example_input())[None])
            if isinstance(card, TextCard):
                self._check_lengths(card)
        except (RuntimeError, TypeError, ValueError, LookupError, ArithmeticError, AssertionError) as error:
            # for attributes and shapes that do not fit
            text = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise RefusedToStartError(f"model {card.name}: its {GRAPH} cannot be run ({text})") from error
        if logits.shape != (1, len(card.classes)):
            raise RefusedToStartError(
                f"model {card.name}: its {GRAPH} gives scores {tuple(logits.shape)} for one input; its card has "
                f"{len(card.classes)} classes"
            )

    def _check_lengths(self, card: TextCard) -> None:
        """Raise `RefusedToStartError` unless rows of up to the card's length share batches with longer ones."""
        most, graph = card.text.max_tokens, self._model.graph
        longest = most_tokens(graph)
        if longest is not None and longest < most:
            raise RefusedToStartError(
                f"model {card.name}: its {GRAPH} takes at most {longest} tokens; max_tokens of its card is {most}"
            )
        row = torch.arange(min(most, 8)) % vocabulary_size(self._model)
        padded = torch.nn.functional.pad(row, (0, min(most - len(row), 8)), value=PADDING)
        alone, beside = self._logits(row[None]), self._logits(padded[None])
        if (alone - beside).norm() > PADDING_TOLERANCE * alone.norm():
            raise RefusedToStartError(
                f"model {card.name}: scores of a text change with padding behind it, {PADDING}; the network must "
                "mask all tokens below 0"
            )

    def _logits(self, inputs: Tensor) -> Tensor:
        return self._explainer.engine.run(Batch(inputs.to(self._device), (), ())).logits

    def _described(self, layer: Node) -> LayerDescription:
        """Describe a layer: by its module's class and ``repr`` where it is a module, else by its operation."""
        drawable = self._lengths is None or self._lengths.has_tokens(layer.name)
        if layer.description:
            return LayerDescription(layer.name, layer.kind, layer.description, drawable)
        attributes = ", ".join(f"{name}={value}" for name, value in layer.attributes.items())
        return LayerDescription(layer.name, layer.op, f"{layer.op}({attributes})", drawable)

    def _check_baselines(self, card: TableCard) -> None:
        """Raise `RefusedToStartError` if rows of the table cannot be explained relative to a baseline."""
        try:
            with_baseline(self._model, torch.zeros(card.spec.columns))
        except GraphError as error:
            raise RefusedToStartError(f"model {card.name}: {error.detail}") from None

    def _check_tuned(self) -> None:
        """Raise `RefusedToStartError` if the card's composite cannot be used with the network."""
        chain, composites = self.description.chain, self.description.composites
        for name in composites:
            try:
                resolve(chain, name, {}, (), composites, rules=self.description.rules)
            except InvalidParameterError as error:
                raise RefusedToStartError(
                    f"model {self.description.card.name}: composite {name!r} of its card: {error.message}"
                ) from None


def _recorder(device: torch.device) -> Recorder:
    """Return what records passes on ``device``; raises `RefusedToStartError` for a processor."""
    if device.type != "cuda":
        raise RefusedToStartError(f"{variable('cuda_graphs')}=true: {device} has no CUDA graphs; a GPU has")
    return CudaRecorder(device)


def _bytes(baseline: npt.NDArray[Any] | None) -> bytes | None:
    """Return a baseline as a key."""
    return None if baseline is None else baseline.astype(np.float32).tobytes()


def _explanation(attribution: Attribution) -> Explanation:
    """Convert an attribution, a batch of one, to NumPy and plain numbers."""
    smallest, largest = attribution.extremes[0].tolist()
    return Explanation(
        attribution.output_relevance[0].tolist(),
        attribution.relevance[0].float().numpy(),
        smallest,
        largest,
        tuple(zip(attribution.layers, attribution.sums[0].tolist(), strict=True)),
        float(attribution.input_sums[0]),
        float(attribution.biases[0]),
    )


def _statistic(attribution: SampledAttribution, statistic: Statistic) -> Explanation:
    """Convert a statistic of samples to NumPy and plain numbers."""
    relevance = statistic_of(attribution.relevance, statistic)
    smallest, largest = (float(end) for end in relevance.aminmax())
    return Explanation(
        attribution.output_relevance.tolist(),
        relevance.float().numpy(),
        smallest,
        largest,
        tuple(zip(attribution.layers, attribution.sums.mean(0).tolist(), strict=True)),
        float(attribution.input_sums.mean()),
        float(attribution.biases.mean()),
        statistics(attribution.relevance),
    )


def _is_out_of_memory(error: Exception) -> bool:
    """On accelerators torch raises a type of its own; on a CPU, a RuntimeError with its allocator's message."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "DefaultCPUAllocator" in str(error)
