"""A batch of explanation requests and its attributions, as tensors; and the relevance put in at the output."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter

import torch
from torch import Tensor

from app.lrp.request import ExplanationRequest, Start

OutputRelevance = Callable[[Tensor], Tensor]
"""Logits (B, C) -> relevance put in at the output (B, C)."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Inputs and what is requested of them: ``requests[i]`` is about the input in row ``rows[i]``."""

    inputs: Tensor
    """(B, …)"""
    requests: tuple[ExplanationRequest, ...]
    rows: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Attribution:
    """Relevance of a batch of inputs."""

    logits: Tensor
    """(B, C)"""
    output_relevance: Tensor
    """(B, C), the relevance put in at the output."""
    relevance: Tensor
    """(B, …), shaped like the input of the requested layer."""
    extremes: Tensor
    """(B, 2), the smallest and the largest value of each map; NaN if one of its values is NaN."""
    layers: tuple[str, ...]
    """Names, from the first layer to the last."""
    sums: Tensor
    """(B, layers), total relevance at all inputs of each layer."""
    input_sums: Tensor
    """(B,), total relevance at the network's input."""
    biases: Tensor
    """(B,), relevance that biases, constants and stabilizers absorb in all layers."""

    def cpu(self) -> "Attribution":
        """Return a copy in main memory."""
        return self.map(Tensor.cpu)

    def map(self, function: Callable[[Tensor], Tensor]) -> "Attribution":
        """Return what ``function`` makes of each of the tensors."""
        return Attribution(
            function(self.logits),
            function(self.output_relevance),
            function(self.relevance),
            function(self.extremes),
            self.layers,
            function(self.sums),
            function(self.input_sums),
            function(self.biases),
        )

    def rows(self) -> Iterator["Attribution"]:
        """Iterate over the attributions of its inputs, each a batch of one."""
        for row in range(len(self.logits)):
            yield self.map(itemgetter(slice(row, row + 1)))


@dataclass(frozen=True, eq=False)
class BatchAttributions:
    """Result of a `Batch`, in main memory."""

    logits: Tensor
    """(B, C)"""
    attributions: tuple[Attribution, ...]
    """One for each request, in their order, each a batch of one."""


@dataclass(frozen=True, eq=False)
class SampledAttribution:
    """Relevance of one input in each of T samples, in main memory."""

    output_relevance: Tensor
    """(C,), the relevance put in at the output of all samples."""
    relevance: Tensor
    """(T, …), shaped like the input of the requested layer."""
    layers: tuple[str, ...]
    """Names, from the first layer to the last."""
    sums: Tensor
    """(T, layers), total relevance at all inputs of each layer."""
    input_sums: Tensor
    """(T,), total relevance at the network's input."""
    biases: Tensor
    """(T,), relevance that biases, constants and stabilizers absorb in all layers."""

    @classmethod
    def of(
        cls, layers: tuple[str, ...], output_relevance: Tensor, samples: Sequence[Attribution]
    ) -> "SampledAttribution":
        """Return the attributions of single samples as one."""
        relevance = torch.cat([sample.relevance for sample in samples])
        sums, input_sums, biases = (
            torch.cat(parts)
            for parts in zip(*((s.sums, s.input_sums, s.biases) for s in samples), strict=True)
        )
        return cls(output_relevance, relevance, layers, sums, input_sums, biases)


@dataclass(frozen=True, eq=False)
class SampledAttributions:
    """Samples of one input's explanations, in main memory."""

    logits: Tensor
    """(C,), without dropout and noise."""
    sample_logits: Tensor
    """(T, C)"""
    attributions: tuple[SampledAttribution, ...]
    """One for each request, in their order."""


def extremes(relevance: Tensor) -> Tensor:
    """The smallest and the largest value of each map: (B, …) -> (B, 2)."""
    return torch.stack(torch.aminmax(relevance.flatten(1), dim=1), 1)


def output_relevance(requests: Sequence[ExplanationRequest]) -> OutputRelevance:
    """Return the function that puts in the relevance that each row's request describes.

    LRP redistributes the logit f. Rules are linear in the relevance that is put in, so another amount scales the
    map; a negative multiple of f also inverts its signs. Where the output layer's denominator has the sign of f,
    `Start.ONE` is therefore f/|f| (1 at f = 0) and `Start.PROBABILITY` is p·f/|f|. Where its denominator does
    not depend on the sign of f, positive relevance stays with what raises the logit, and no sign is needed.
    """
    return partial(_start, requests)


_QUANTITIES: Mapping[Start, Callable[[Tensor], Tensor]] = {
    Start.ONE: torch.ones_like,
    Start.LOGIT: lambda logits: logits,
    Start.PROBABILITY: lambda logits: logits.softmax(1),
}
NO_CLASS = -1


def _start(requests: Sequence[ExplanationRequest], logits: Tensor) -> Tensor:
    """(B, C) -> (B, C). Raises `ValueError` unless there is a request for each row."""
    if len(requests) != len(logits):
        raise ValueError(f"{len(requests)} requests for {len(logits)} rows of logits")
    return Targets(requests, logits.device)(logits)


class Targets:
    """What requests put in at the output, one for each row of logits; see `output_relevance`.

    What differs between rows are tensors on the device of the logits. What decides which operations are run is
    the ``form``: those of one form run the same ones.
    """

    def __init__(self, requests: Sequence[ExplanationRequest], device: torch.device) -> None:
        targets = [request.target for request in requests]
        indices = [NO_CLASS if target.index is None else target.index for target in targets]
        versus = [NO_CLASS if target.versus is None else target.versus for target in targets]
        divides = [request.composite.divides_by_logit for request in requests]
        self._starts = tuple(sorted({target.start for target in targets}))
        self._asks_highest, self._contrasts = NO_CLASS in indices, any(one != NO_CLASS for one in versus)
        self._signed = any(divides)
        rows: dict[str, list[int] | list[bool]] = {"index": indices}
        if self._contrasts:
            rows["versus"] = versus
        if self._signed and not all(divides):
            rows["divides"] = divides
        for other in self._starts[1:]:
            rows[other] = [target.start is other for target in targets]
        self.tensors = {name: torch.tensor(values, device=device) for name, values in rows.items()}
        """Each (B,)."""

    @property
    def count(self) -> int:
        """Number of requests."""
        return len(self.tensors["index"])

    def copy_(self, others: "Targets") -> None:
        """Take over those of other requests of the same form and number, in the same memory."""
        for name, tensor in self.tensors.items():
            tensor.copy_(others.tensors[name])

    @property
    def form(self) -> Hashable:
        """What decides which operations are run."""
        return self._starts, self._asks_highest, self._signed, tuple(self.tensors)

    def __call__(self, logits: Tensor) -> Tensor:
        """(B, C) -> (B, C). Reads no value of ``logits``, for which the processor would wait for a GPU."""
        quantity = self._quantity(logits)
        index = self.tensors["index"]
        if self._asks_highest:
            index = torch.where(index == NO_CLASS, logits.argmax(1), index)
        start = torch.where(_is_class(index, logits), quantity, 0)
        if self._contrasts:
            start = start - torch.where(_is_class(self.tensors["versus"], logits), quantity, 0)
        return start

    def _quantity(self, logits: Tensor) -> Tensor:
        """Return what is put in at each output if its class is explained, (B, C)."""
        first, *others = self._starts
        quantity = _QUANTITIES[first](logits)
        for other in others:
            quantity = torch.where(self.tensors[other].unsqueeze(1), _QUANTITIES[other](logits), quantity)
        if not self._signed:
            return quantity
        is_negative = logits < 0
        if "divides" in self.tensors:
            is_negative &= self.tensors["divides"].unsqueeze(1)
        return torch.where(is_negative, -quantity.abs(), quantity)


def _is_class(index: Tensor, logits: Tensor) -> Tensor:
    """Return whether each output is that of the row's class: (B,) -> (B, C)."""
    return index.unsqueeze(1) == torch.arange(logits.shape[1], device=logits.device)
