"""Sums and differences of two inputs: relevance in proportion to what each contributes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from app.lrp.engine.operation import AtZero, Compile, OperationContext, Redistribution, Sign, Values
from app.lrp.engine.ops.division import absorbed, divided
from app.lrp.terms import STABILIZER


@dataclass(frozen=True, eq=False)
class Sum:
    """The sum a + b of inputs that are broadcast.

    Relevance is a·R / s(a + b) and b·R / s(a + b), as Zennit's rule ``Norm`` gives it. Constants absorb their
    share.
    """

    needed: tuple[bool, ...]
    factor: int = 1
    """1, or -1 for the difference a - b, which is the sum of a and -b."""
    sign: Sign = Sign.AS_INPUTS
    at_zero = AtZero.NONE
    conserves = False  # the stabilizer absorbs some relevance
    reads_inputs = True
    reads_output = True
    is_cheap = False

    @property
    def receivers(self) -> Sequence[int]:
        """See `app.lrp.engine.operation.Backward`."""
        return [index for index, is_needed in enumerate(self.needed) if is_needed]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, None]:
        """See `app.lrp.engine.operation.Operation`."""
        first, second = inputs
        return first.add(second, alpha=self.factor), None

    def relevance(self, R: Tensor, values: Values) -> Redistribution:
        """See `app.lrp.engine.operation.Backward`."""
        q = divided(R, values.z, STABILIZER)
        kept = absorbed(R, q, STABILIZER)
        relevances: list[Tensor | None] = []
        for index, (value, factor) in enumerate(zip(values.inputs, (1, self.factor), strict=True)):
            if self.needed[index]:
                share = (q * value).sum_to_size(values.input_shape(index))
                relevances.append(share if factor == 1 else share.neg_())
            else:
                finite = value.masked_fill(value.isinf(), 0.0)  # masks add -inf, and 0 · inf is not a number
                kept.addcmul_(q, finite, value=factor)
                relevances.append(None)
        return Redistribution(tuple(relevances), kept)


def _sum(context: OperationContext) -> Sum:
    return Sum(context.needed)


def _difference(context: OperationContext) -> Sum:
    return Sum(context.needed, -1, Sign.ANY)


OPERATIONS: Mapping[str, Compile] = {"add": _sum, "sub": _difference}
