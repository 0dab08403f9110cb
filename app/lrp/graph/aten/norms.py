"""Normalisation by statistics of each input."""

from collections.abc import Mapping
from types import MappingProxyType

import torch

from app.lrp.graph.aten.call import Call, Translation
from app.lrp.graph.values import Signal


def _layer_norm(call: Call) -> Signal:
    weights = {"weight": call.optional_constant("weight"), "bias": call.optional_constant("bias")}
    shape = list(call["normalized_shape"])
    return call.emit("layer_norm", call.x, weights=weights, normalized_shape=shape, eps=call["eps"])


def _group_norm(call: Call) -> Signal:
    weights = {"weight": call.optional_constant("weight"), "bias": call.optional_constant("bias")}
    groups = call["num_groups"]
    return call.emit("group_norm", call.x, weights=weights, num_groups=groups, eps=call["eps"])


def _rms_norm(call: Call) -> Signal:
    x, shape = call.x, list(call["normalized_shape"])
    eps = call["eps"]
    if eps is None:  # the default of torch.nn.functional.rms_norm
        eps = torch.finfo(call.dtype).eps
    weights = {"weight": call.optional_constant("weight")}
    return call.emit("rms_norm", x, weights=weights, normalized_shape=shape, eps=eps)


TRANSLATIONS: Mapping[str, Translation] = MappingProxyType(
    {"layer_norm": _layer_norm, "group_norm": _group_norm, "rms_norm": _rms_norm}
)
"""By the operator's name."""
