"""Operations that relevance passes unchanged: ReLU, dropout that is off, identity."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from app.lrp.engine.operation import AtZero, Compile, Redistribution, Sign, Values


@dataclass(frozen=True, eq=False)
class Passing:
    """An operation on single values, of which each gets the relevance of its result."""

    function: Callable[[Tensor], Tensor]
    sign: Sign
    at_zero: AtZero
    conserves = True
    reads_inputs = False
    reads_output = False
    receivers = (0,)
    is_cheap = True

    def forward(self, *inputs: Tensor) -> tuple[Tensor, None]:
        """See `app.lrp.engine.operation.Operation`."""
        return self.function(inputs[0]), None

    def relevance(self, R: Tensor, values: Values) -> Redistribution:  # noqa: ARG002
        """See `app.lrp.engine.operation.Backward`."""
        return Redistribution((R,))


def identity(x: Tensor) -> Tensor:
    """Return ``x``."""
    return x


OPERATIONS: Mapping[str, Compile] = {
    "relu": lambda _: Passing(F.relu, Sign.NONNEGATIVE, AtZero.AS_OUTPUT),
    "identity": lambda _: Passing(identity, Sign.AS_INPUTS, AtZero.AS_OUTPUT),
    "dropout": lambda _: Passing(identity, Sign.AS_INPUTS, AtZero.AS_OUTPUT),
}
