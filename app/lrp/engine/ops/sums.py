"""Sums and differences of two inputs: relevance in proportion to what each contributes."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from app.lrp.engine.operation import AtZero, Compile, OperationContext, Sign, Values
from app.lrp.engine.ops.division import divided
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

    def forward(self, *inputs: Tensor) -> tuple[Tensor, None]:
        """See `app.lrp.engine.operation.Operation`."""
        first, second = inputs
        return first.add(second, alpha=self.factor), None

    def relevance(self, R: Tensor, values: Values) -> tuple[Tensor | None, ...]:
        """See `app.lrp.engine.operation.Backward`."""
        q = divided(R, values.z, STABILIZER)
        first, second = (
            (q * value).sum_to_size(values.input_shape(index)) if self.needed[index] else None
            for index, value in enumerate(values.inputs)
        )
        return first, second if second is None or self.factor == 1 else second.neg_()


def _sum(context: OperationContext) -> Sum:
    return Sum(context.needed)


def _difference(context: OperationContext) -> Sum:
    return Sum(context.needed, -1, Sign.ANY)


OPERATIONS: Mapping[str, Compile] = {"add": _sum, "sub": _difference}
