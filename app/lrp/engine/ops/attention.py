"""Products of matrices that both depend on the input, and softmax: attention, under two rules.

- ``cp``: attention weights are constants and get no relevance, conservative propagation, Ali et al. 2022.
- ``attnlrp``: both matrices get half, and relevance passes through softmax, Achtibat et al. 2024.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.lrp.engine.operation import AtZero, Compile, OperationContext, Redistribution, Sign, Values
from app.lrp.engine.ops.division import absorbed, divided
from app.lrp.rules import CP
from app.lrp.terms import STABILIZER


@dataclass(frozen=True, eq=False)
class MatrixProduct:
    """The product A·B. Each of k receivers gets the share 1/k: A · (R / s(kAB))Bᵀ and B · Aᵀ(R / s(kAB))."""

    receivers: frozenset[int]
    """Indices of the inputs that get relevance."""
    sign = Sign.AS_INPUTS
    at_zero = AtZero.NONE
    conserves = False  # the stabilizer absorbs some relevance
    reads_inputs = True
    reads_output = True
    is_cheap = False

    def forward(self, *inputs: Tensor) -> tuple[Tensor, None]:
        """See `app.lrp.engine.operation.Operation`: (…, m, k), (…, k, n) -> (…, m, n)."""
        first, second = inputs
        return first @ second, None

    def relevance(self, R: Tensor, values: Values) -> Redistribution:
        """See `app.lrp.engine.operation.Backward`: (…, m, n) -> (…, m, k), (…, k, n)."""
        if not self.receivers:
            return Redistribution((None, None), R)
        first, second = values.inputs
        k = len(self.receivers)
        q = divided(R, values.z, STABILIZER / k).div_(k)  # R / s(kAB), (…, m, n)
        relevances = (
            (q @ second.mT).mul_(first).sum_to_size(values.input_shape(0)) if 0 in self.receivers else None,
            (first.mT @ q).mul_(second).sum_to_size(values.input_shape(1)) if 1 in self.receivers else None,
        )
        return Redistribution(relevances, absorbed(R, q, STABILIZER))


@dataclass(frozen=True, eq=False)
class Softmax:
    """Softmax s of x. Relevance is x · (R - s·ΣR), Achtibat et al. 2024 eq. 13; there is none under ``cp``."""

    axis: int
    passes: bool
    """Whether relevance is passed on."""
    sign = Sign.NONNEGATIVE
    at_zero = AtZero.NONE
    conserves = False
    is_cheap = True

    def forward(self, *inputs: Tensor) -> tuple[Tensor, None]:
        """See `app.lrp.engine.operation.Operation`."""
        (x,) = inputs
        return x.softmax(self.axis), None

    @property
    def receivers(self) -> Sequence[int]:
        """See `app.lrp.engine.operation.Backward`."""
        return (0,) if self.passes else ()

    @property
    def reads_inputs(self) -> bool:
        """See `app.lrp.engine.operation.Backward`."""
        return self.passes

    @property
    def reads_output(self) -> bool:
        """See `app.lrp.engine.operation.Backward`."""
        return self.passes

    def relevance(self, R: Tensor, values: Values) -> Redistribution:
        """See `app.lrp.engine.operation.Backward`."""
        if not self.passes:
            return Redistribution((None,), R)
        (x,), s = values.inputs, values.z
        x = x.masked_fill(x.isneginf(), 0.0)  # masks add -inf, and 0 · inf is not a number
        lost = s * R.sum(self.axis, keepdim=True)
        relevance = torch.sub(R, lost, out=lost).mul_(x)
        bias = (s * x).sum(self.axis, keepdim=True) - x + 1  # that of the Taylor expansion, divided by s
        return Redistribution((relevance,), bias.mul(R))


def _matrix_product(context: OperationContext) -> MatrixProduct:
    receivers = frozenset(index for index, is_needed in enumerate(context.needed) if is_needed)
    if context.node.attributes.get("attention", False) and context.rule.name == CP:
        receivers -= {0}
    return MatrixProduct(receivers)


def _softmax(context: OperationContext) -> Softmax:
    return Softmax(context.node.attributes["axis"], context.needed[0] and context.rule.name != CP)


OPERATIONS: Mapping[str, Compile] = {"matmul": _matrix_product, "softmax": _softmax}
