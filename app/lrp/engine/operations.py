"""The table of operations without weights of their own, or whose rule cannot be chosen; see `ops`."""

from collections.abc import Mapping

from app.lrp.engine.operation import Compile
from app.lrp.engine.ops import (
    attention,
    embedding,
    logic,
    movement,
    norms,
    passing,
    pointwise,
    pooling,
    products,
    recurrent,
    reductions,
    sums,
)

OPERATIONS: Mapping[str, Compile] = {
    **attention.OPERATIONS,
    **embedding.OPERATIONS,
    **logic.OPERATIONS,
    **movement.OPERATIONS,
    **norms.OPERATIONS,
    **passing.OPERATIONS,
    **pointwise.OPERATIONS,
    **pooling.OPERATIONS,
    **products.OPERATIONS,
    **recurrent.OPERATIONS,
    **reductions.OPERATIONS,
    **sums.OPERATIONS,
}
"""How the nodes of an operation are compiled, by `app.lrp.graph.graph.Node.op`."""
