"""Softmax and attention."""

import math
from collections.abc import Mapping
from types import MappingProxyType

import torch

from app.lrp.graph.aten.affine import product, transposed
from app.lrp.graph.aten.call import Call, Translation, axis_of, fixed
from app.lrp.graph.values import Constant, Signal, UntranslatableError


def _softmax(call: Call) -> Signal:
    x = call.x
    if call.dtype != x.dtype:
        raise UntranslatableError(f"it converts {x.dtype} to {call.dtype}")
    axis = axis_of(call["dim"], x.shape)
    fixed(x.shape[axis])
    return call.emit("softmax", x, axis=axis)


def _attention(call: Call) -> Signal:
    """Write out softmax(q kᵀ · scale + mask) v: (..., n, d), (..., m, d), (..., m, e) -> (..., n, e)."""
    query, key, value = call.input("query"), call.input("key"), call.input("value")
    if call["enable_gqa"] or call["dropout_p"]:
        raise UntranslatableError("enable_gqa and dropout_p are not supported")
    scale = 1 / math.sqrt(fixed(query.shape[-1])) if call["scale"] is None else call["scale"]
    scores = *query.shape[:-1], key.shape[-2]  # (..., n, m)
    x = call.emit("mul", query, call.number(scale), shape=query.shape)
    x = call.emit("matmul", x, transposed(call, key), shape=scores)
    mask = _mask(call, int(fixed(query.shape[-2])), int(fixed(key.shape[-2])))
    if mask is not None:
        x = call.emit("add", x, mask, shape=scores)
    x = call.emit("softmax", x, shape=scores, axis=len(scores) - 1)
    return product(call, x, value)


def _mask(call: Call, queries: int, keys: int) -> Constant | None:
    """Return what is added to the scores, if anything is."""
    if call["is_causal"]:
        kept = torch.ones(queries, keys, dtype=torch.bool).tril()
    elif call["attn_mask"] is None:
        return None
    else:
        mask = call["attn_mask"]
        if not isinstance(mask, Constant):
            raise UntranslatableError("its mask must not depend on the network's input")
        if mask.tensor.dtype != torch.bool:
            return mask
        kept = mask.tensor
    added = torch.zeros(kept.shape, dtype=call.dtype).masked_fill(~kept, -torch.inf)
    return Constant(added, tuple(added.shape))


TRANSLATIONS: Mapping[str, Translation] = MappingProxyType(
    {"softmax": _softmax, "scaled_dot_product_attention": _attention}
)
"""By the operator's name."""
