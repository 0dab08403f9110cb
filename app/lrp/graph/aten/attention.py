"""Softmax and attention."""

import math
from collections.abc import Mapping
from types import MappingProxyType

import torch

from app.lrp.graph.aten.affine import product, transposed
from app.lrp.graph.aten.call import Call, Translation, axis_of, fixed, unbatched
from app.lrp.graph.graph import TOKENS, Size, evaluated
from app.lrp.graph.values import Constant, Signal, UntranslatableError, Value


def _softmax(call: Call) -> Signal:
    return _over_axis(call, "softmax")


def _log_softmax(call: Call) -> Signal:
    return _over_axis(call, "log_softmax")


def _over_axis(call: Call, op: str) -> Signal:
    x = call.x
    if call.dtype != x.dtype:
        raise UntranslatableError(f"it converts {x.dtype} to {call.dtype}")
    axis = axis_of(call["dim"], x.shape)
    unbatched(x.shape[axis])
    return call.emit(op, x, axis=axis)


def _attention(call: Call) -> Signal:
    """Write out softmax(q kᵀ · scale + mask) v: (..., n, d), (..., m, d), (..., m, e) -> (..., n, e)."""
    query, key, value = call.input("query"), call.input("key"), call.input("value")
    if call["enable_gqa"] or call["dropout_p"]:
        raise UntranslatableError("enable_gqa and dropout_p are not supported")
    scale = 1 / math.sqrt(fixed(query.shape[-1])) if call["scale"] is None else call["scale"]
    scores = *query.shape[:-1], key.shape[-2]  # (..., n, m)
    x = call.emit("mul", query, call.number(scale), shape=query.shape)
    x = call.emit("matmul", x, transposed(call, key), shape=scores)
    x = _masked(call, x)
    x = call.emit("softmax", x, shape=scores, axis=len(scores) - 1)
    return product(call, x, value)


def _masked(call: Call, scores: Signal) -> Signal:
    """Return the scores with the mask, if there is one."""
    mask: Value | None = call["attn_mask"]
    if call["is_causal"]:
        mask = _causal(call, *(unbatched(size) for size in scores.shape[-2:]))
    if mask is None:
        return scores
    if mask.dtype == torch.bool:
        return call.emit("where", mask, scores, call.number(-torch.inf), shape=scores.shape)
    return call.emit("add", scores, mask, shape=scores.shape)


def _causal(call: Call, queries: Size, keys: Size) -> Constant:
    """Return a mask (queries, keys) that is true for keys up to the query's own position."""
    rows, columns = (evaluated(size, {TOKENS: call.tokens}) for size in (queries, keys))
    return Constant(torch.ones(rows, columns, dtype=torch.bool).tril(), (queries, keys))


TRANSLATIONS: Mapping[str, Translation] = MappingProxyType(
    {
        "softmax": _softmax,
        "log_softmax": _log_softmax,
        "scaled_dot_product_attention": _attention,
    }
)
"""By the operator's name."""
