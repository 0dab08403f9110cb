"""What a network's outputs stand for: values in standard deviations, or logits that are not calibrated."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from app.training.evaluation import fit_temperature
from app.training.table.data import Dataset
from app.training.table.loop import Examples


@dataclass(frozen=True)
class Output:
    """The served output is ``factor`` times that of the trained network plus ``offset``."""

    factor: float
    offset: float

    def of(self, outputs: Tensor) -> Tensor:
        """Return the served outputs: (rows, outputs) -> (rows, outputs)."""
        return outputs * self.factor + self.offset


def standardised(data: Dataset) -> tuple[Examples, Output]:
    """Return the rows to train on, with values in standard deviations, and what these stand for."""
    targets = torch.from_numpy(data.train.targets)
    output = Output(1.0, 0.0)
    if data.classes is None:
        output = Output(float(targets.std(correction=0)), float(targets.mean()))
        targets = ((targets - output.offset) / output.factor).float()
    examples = Examples(
        torch.from_numpy(data.train.columns),
        targets if data.classes is None else targets.long(),
        torch.from_numpy(data.fold),
        None if data.classes is None else len(data.classes),
    )
    return examples, output


def calibrated(output: Output, outputs: Tensor, examples: Examples) -> Output:
    """Return ``output`` with logits divided by the temperature that fits ``outputs`` (rows, classes) best.

    Values stay as they are.
    """
    if examples.classes is None:
        return output
    return Output(output.factor / fit_temperature(outputs, examples.targets), output.offset)


def fold(network: nn.Sequential, output: Output) -> nn.Sequential:
    """Return ``network`` with ``output`` as part of its last layer."""
    last = network[-1]
    assert isinstance(last, nn.Linear)
    weight, bias = last.weight.detach(), last.bias.detach()
    last.weight = nn.Parameter(weight * output.factor)
    last.bias = nn.Parameter(bias * output.factor + output.offset)
    return network
