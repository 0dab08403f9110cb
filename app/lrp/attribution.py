"""A batch of explanation requests and its attributions, as tensors; and the relevance put in at the output."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

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
        return Attribution(
            self.logits.cpu(),
            self.output_relevance.cpu(),
            self.relevance.cpu(),
            self.extremes.cpu(),
            self.layers,
            self.sums.cpu(),
            self.input_sums.cpu(),
            self.biases.cpu(),
        )

    def rows(self) -> Iterator["Attribution"]:
        """Iterate over the attributions of its inputs, each a batch of one."""
        tensors = (
            self.logits,
            self.output_relevance,
            self.relevance,
            self.extremes,
            self.sums,
            self.input_sums,
            self.biases,
        )
        for row in zip(*(tensor.split(1) for tensor in tensors), strict=True):
            logits, start, relevance, extremes, sums, input_sums, biases = row
            yield Attribution(logits, start, relevance, extremes, self.layers, sums, input_sums, biases)


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
    """(B, C) -> (B, C). Reads no value of ``logits``, for which the processor would wait for a GPU.

    Raises `ValueError` unless there is a request for each row.
    """
    if len(requests) != len(logits):
        raise ValueError(f"{len(requests)} requests for {len(logits)} rows of logits")
    targets = [request.target for request in requests]
    quantity = _by_row([target.start for target in targets], logits)  # (B, C)
    divides_by_logit = [request.composite.divides_by_logit for request in requests]
    if any(divides_by_logit):
        is_negative = logits < 0
        if not all(divides_by_logit):
            is_negative &= logits.new_tensor(divides_by_logit, dtype=torch.bool).unsqueeze(1)
        quantity = torch.where(is_negative, -quantity.abs(), quantity)
    start = torch.where(_is_class([target.index for target in targets], logits), quantity, 0)
    versus = [NO_CLASS if target.versus is None else target.versus for target in targets]
    if any(index != NO_CLASS for index in versus):
        start = start - torch.where(_is_class(versus, logits), quantity, 0)
    return start


def _by_row(starts: Sequence[Start], logits: Tensor) -> Tensor:
    """Return the quantity of each row, (B, C)."""
    first, *others = dict.fromkeys(starts)
    quantity = _QUANTITIES[first](logits)
    for other in others:
        is_other = logits.new_tensor([start is other for start in starts], dtype=torch.bool)
        quantity = torch.where(is_other.unsqueeze(1), _QUANTITIES[other](logits), quantity)
    return quantity


def _is_class(indices: Sequence[int | None], logits: Tensor) -> Tensor:
    """Return whether each output is that of the row's class, (B, C); ``None``: the one with the highest logit."""
    highest = logits.argmax(1) if None in indices else None  # (B,)
    given = logits.new_tensor([NO_CLASS if index is None else index for index in indices], dtype=torch.long)
    index = given if highest is None else torch.where(given == NO_CLASS, highest, given)
    return index.unsqueeze(1) == torch.arange(logits.shape[1], device=logits.device)
